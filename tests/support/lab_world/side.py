"""One site of the world: its files, and the agent that runs over them as long as it lives."""

from __future__ import annotations

import ssl
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from secondsite.agent.driver import Command, SiteContext
from secondsite.agent.lab.clock import LabClock
from secondsite.agent.lab.faults import Fault
from secondsite.agent.lab.site import Site
from secondsite.agent.lab.state import Document, Half
from secondsite.wire.arguments import Nothing
from secondsite.wire.base import Message
from secondsite.wire.facts import Relation
from secondsite.wire.feed import AnyFact
from secondsite.wire.operations import Verb
from support.lab_world.centres import VM, centre
from support.lab_world.files import SiteFiles
from support.lab_world.guest import MemoryGuest
from support.lab_world.life import Life
from support.lab_world.machinery import MemoryMachinery
from support.lab_world.store import MemoryStore
from support.lab_world.wire import Network

F = TypeVar("F", bound=AnyFact)


# The others are of the whole site, or may be.
OF_VM = frozenset({"VMMoved", "DuplicateNames", "OrphanedTestVM"})


class Facts:
    """The newest fact of each id, as the feed keeps it."""

    def __init__(self) -> None:
        self.held: dict[tuple[type[Any], str], Any] = {}

    def publish(self, id: str, fact: AnyFact) -> None:
        self.held[type(fact), id] = fact

    def withdraw(self, kind: type[AnyFact], id: str) -> None:
        self.held.pop((kind, id), None)

    def get(self, kind: type[F], id: str) -> F | None:
        found: F | None = self.held.get((kind, id))
        return found


class _NoTLS:
    """Who dials is told to the port by name."""

    def listener(self) -> ssl.SSLContext:
        return _context()

    def dialler(self, site: str) -> ssl.SSLContext:
        return _context()


@cache
def _context() -> ssl.SSLContext:
    return ssl.create_default_context()


@cache
def folder() -> Path:
    """Of what must be somewhere, though hardly anything is written to it."""
    return Path(tempfile.mkdtemp(prefix="lab-world-"))


@dataclass
class Side:
    """A site. `steps` are what its half was, when, and the newest point of its replica then, for whoever watches."""

    name: str
    network: Network
    base: Callable[[], datetime]
    capabilities: Sequence[str] = ()
    skew: float = 0
    steps: list[tuple[Half | None, datetime, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.files = SiteFiles(self.name, self.now)
        self.life = Life(self.name)
        self.life.alive = False
        self.facts = Facts()
        self._commands = 0
        self.begun: Command | None = None
        """A verb that nobody knows the outcome of, since the agent died in it."""

    def now(self) -> datetime:
        """By the site's own clock."""
        return self.base() + timedelta(seconds=self.skew)

    @property
    def up(self) -> bool:
        """Whether the agent lives."""
        return self.life.alive

    def start(self) -> None:
        """A new life over the same files."""
        self.life, self.facts = Life(self.name), Facts()
        found = centre(self.name, tuple(self.capabilities))
        self.machinery = MemoryMachinery(self.files, self.life, self.network, found, self.now, self._stored)
        context = SiteContext(site=self.name, data=folder() / self.name, sink=self.facts, tls=_NoTLS())
        clock = LabClock(1.0, found.knobs, self.now)
        self.site = Site(context, folder() / f"{self.name}.yaml", clock, machinery=self.machinery)
        self.network.faults[self.name] = self.site.estate.faults
        self.site.start()

    def kill(self) -> None:
        """At once, wherever it is."""
        self.life.alive = False

    def crash(self) -> None:
        """The host goes down: no map of changes was flushed."""
        self.kill()
        self.files.boot += 1

    def command(self, verb: Verb, arguments: Message | None = None, *, resumed: bool = False) -> Command:
        """As the core would make it."""
        self._commands += 1
        deadline = self.now() + timedelta(hours=1)
        key = f"{self.name}-{self._commands}"
        return Command(key, verb, VM, arguments or Nothing(), 1, deadline, resumed=resumed)

    @property
    def half(self) -> Half | None:
        """What this site knows of the VM's relation."""
        return self.site.estate.halves.get(VM)

    @property
    def state(self) -> str:
        """State of the half."""
        return self.site.estate.halves.state(VM)

    @property
    def guest(self) -> MemoryGuest | None:
        """The VM, where it runs here or could."""
        estate = self.site.estate
        found: Any = estate.guests.get(VM) or estate.recovered.guests.get(VM)
        return found if isinstance(found, MemoryGuest) else None

    @property
    def store(self) -> MemoryStore | None:
        """The replica that is here."""
        opened = self.site.estate.replicas.get(VM)
        found: Any = opened.store if opened else None
        return found if isinstance(found, MemoryStore) else None

    @property
    def relation(self) -> Relation | None:
        """The half as it is computed now."""
        return self.site.reporter.compute(VM)

    def fault(self, name: str, *, on: bool) -> dict[str, Any]:
        """Switch a fault of this site, as over its socket."""
        vm_id = VM if name in OF_VM else ""
        return self.machinery.answer({"ask": "fault", "fault": name, "off": not on, "vmID": vm_id})

    @property
    def settling(self) -> bool:
        """The management service restarts: the core lets no command through, and whatever works here waits."""
        return self.site.estate.faults.on(Fault.VMMS_RESTART) is not None

    def pulse(self) -> None:
        """What the reporter does as time goes by."""
        for half in self.site.estate.halves.all():
            self.site.reporter.relation(half.vm_id)

    def _stored(self, kind: str, id_: str, document: Document | None) -> None:
        if kind == Half.__name__ and id_ == VM:
            held = [store for root, store in self.files.stores.items() if root.name == VM and store.points]
            newest = held[0].points[-1].fact.id if held else ""
            self.steps.append((document if isinstance(document, Half) else None, self.machinery.now(), newest))
