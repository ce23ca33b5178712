"""The verbs about when and how the first copy travels: at a time, or on media that people carry."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from pathlib import Path
from typing import cast

from secondsite.agent.driver import Command
from secondsite.agent.lab import triggers
from secondsite.agent.lab.engine import EngineError, MediaRefused, PeerRefused
from secondsite.agent.lab.engine.media.manifest import load_manifest, manifest_path
from secondsite.agent.lab.engine.types import Told
from secondsite.agent.lab.estate import Estate
from secondsite.agent.lab.events import Event
from secondsite.agent.lab.lookups import half_of
from secondsite.agent.lab.replica import ReplicaStore
from secondsite.agent.lab.results import Handlers, Result
from secondsite.agent.lab.source_verbs import BEGUN, SourceVerbs
from secondsite.agent.lab.state import Half
from secondsite.wire import arguments
from secondsite.wire.operations import Verb
from secondsite.wire.problems import Code, Refusal

_COPY_AGAIN = "Copy the folder of the export again, whole, or give the path of the right one."


class MediaVerbs:
    """Each may be repeated after an unknown outcome."""

    def __init__(self, estate: Estate, source: SourceVerbs) -> None:
        self._estate = estate
        self._source = source

    @property
    def on_primary(self) -> Handlers:
        """What is asked of a half that is the primary's."""
        return {
            Verb.START_INITIAL_REPLICATION: self.start,
            Verb.STOP_INITIAL_REPLICATION: self.stop,
            Verb.EXPORT_INITIAL_REPLICATION: self.export,
        }

    @property
    def elsewhere(self) -> Handlers:
        """What is asked of a replica."""
        return {Verb.IMPORT_INITIAL_REPLICATION: self.import_}

    def start(self, command: Command) -> Result:
        """Start-VMInitialReplication, over the network: now, or with -InitialReplicationStartTime."""
        wish = command.arguments
        if not isinstance(wish, arguments.StartInitialReplication) or wish.start_time is None:
            if self._estate.halves.state(command.vm_id) == "ReadyForInitialReplication":
                self._estate.halves.update(command.vm_id, media="", initial_start_time=None)
            return self._source.start_initial(command)
        half = half_of(self._estate, command.vm_id, Event.START_INITIAL_LATER)
        if command.resumed and (half.initial_start_time == wish.start_time or half.state in BEGUN):
            return {}
        near = triggers.within_a_week(wish.start_time, self._estate.clock.now())
        self._estate.halves.require(half.vm_id, half.vm_name, Event.START_INITIAL_LATER, within_a_week=near)
        self._source.track(half)
        self._estate.halves.step(
            half.vm_id,
            Event.START_INITIAL_LATER,
            {"within_a_week": near},
            media="",
            initial_start_time=wish.start_time,
        )
        return {}

    def stop(self, command: Command) -> Result:
        """Stop-VMInitialReplication: what runs, an export too, or a start that was only set."""
        half = half_of(self._estate, command.vm_id, Event.STOP_INITIAL)
        if half.initial_start_time is None:
            return self._source.stop_initial(command)
        with self._estate.open_primary(half).quiet():
            self._estate.halves.step(half.vm_id, Event.STOP_INITIAL, initial_start_time=None)
        return {}

    def export(self, command: Command) -> Result:
        """Start-VMInitialReplication -DestinationPath: tracking begins, and the relation's turn writes the disks."""
        half = half_of(self._estate, command.vm_id, Event.EXPORT_INITIAL)
        path = cast("arguments.Media", command.arguments).path
        if command.resumed and half.media == path:
            return {}
        self._estate.halves.require(half.vm_id, half.vm_name, Event.EXPORT_INITIAL)
        _expect_free(half, Path(path), self._estate.halves.all())
        self._source.track(half)
        self._estate.halves.step(
            half.vm_id,
            Event.EXPORT_INITIAL,
            media=path,
            initial_start_time=None,
            last_cycle_start=None,
            retry_time=None,
            failures=0,
        )
        return {}

    def import_(self, command: Command) -> Result:
        """Import-VMInitialReplication: the export becomes the first recovery point; damaged media change nothing."""
        half = half_of(self._estate, command.vm_id, Event.IMPORT_INITIAL)
        if command.resumed and half.initial_done:
            return {}
        self._estate.halves.require(half.vm_id, half.vm_name, Event.IMPORT_INITIAL)
        folder = Path(cast("arguments.Media", command.arguments).path)
        store = self._estate.replicas.open(half.vm_id)

        def told(done: int, total: int) -> None:
            command.report(100 * done // total if total else 100, f"Reading {folder}")

        return {"point": self._import(half, store, folder, told)}

    def _import(self, half: Half, store: ReplicaStore, folder: Path, told: Told) -> str:
        try:
            return self._estate.machinery.import_initial(store.store, folder, threading.Event(), told)
        except MediaRefused as error:
            raise Refusal(
                Code.INVALID_REQUEST, f"Importing the first copy of {half.vm_name}: {error}", remedy=_COPY_AGAIN
            ) from error
        except (PeerRefused, EngineError, OSError) as error:
            raise Refusal(
                Code.INVALID_REQUEST,
                f"Importing the first copy of {half.vm_name} from {folder}: {error}",
                remedy="See that the folder can be read, that there is room, and that the replica is still empty.",
            ) from error


def _expect_free(half: Half, folder: Path, halves: Iterable[Half]) -> None:
    """Raises Refusal for a folder that cannot take the export of this VM. `halves`: all of the site."""
    if not folder.is_absolute():
        raise Refusal(Code.INVALID_REQUEST, f"{folder}: the path of an export must be absolute")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # A manifest comes with the end of an export only.
        other = any(one.vm_id != half.vm_id and _exports_to(one, folder) for one in halves) or (
            manifest_path(folder).exists() and load_manifest(folder).vm != half.vm_id
        )
    except MediaRefused:
        # What is there is no whole export of anybody: it is written over.
        return
    except OSError as error:
        raise Refusal(
            Code.INVALID_REQUEST,
            f"The folder {folder} for the export of {half.vm_name}: {error.strerror}",
            remedy="Give a folder on this site's agent that it may write to.",
        ) from error
    if other:
        raise Refusal(
            Code.IN_USE, f"{folder} holds the export of another VM", remedy="Give each VM a folder of its own."
        )


def _exports_to(half: Half, folder: Path) -> bool:
    begun = half.state == "InitialReplicationInProgress" and bool(half.media)
    return begun and Path(half.media).resolve() == folder.resolve()
