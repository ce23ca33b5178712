"""The sending half of the engine in memory, by the contract of `ReplicationSource`."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime

import msgspec

from secondsite.agent.lab.engine import (
    CompareResult,
    CycleKind,
    CycleResult,
    EngineError,
    HeadConflict,
    MapNotTrusted,
    PeerRefused,
    Quiesce,
    StaleGeneration,
    Stopped,
    WaitingForMedia,
)
from secondsite.agent.lab.engine.primary.agreement import agreed, with_head
from secondsite.agent.lab.engine.primary.quiesce import freeze_at_rest
from secondsite.agent.lab.engine.primary.state import OpenState
from secondsite.agent.lab.engine.primary.unchanged import may_stand
from secondsite.wire.peer import BLOCK_BYTES, CycleOpen, DiskPlan, HashBasis
from support.lab_world.images import Image
from support.lab_world.tracking_core import TrackingCore
from support.lab_world.wire import MemoryClient


class MemoryTracking(TrackingCore):
    """Tracks the disks of one VM and replicates them, one cycle at a time."""

    unchanged_seconds = 0.0

    def run_cycle(
        self, client: MemoryClient, *, stop: threading.Event | None = None, quiesce: Quiesce | None = None
    ) -> CycleResult:
        """One cycle, to its durable recovery point: the open one if there is one, else a fresh freeze."""
        self._settle()
        try:
            return self._run_cycle(client, stop or threading.Event(), quiesce)
        except StaleGeneration as refusal:
            self._change(superseded_by=refusal.generation or self.generation + 1)
            raise

    def _run_cycle(self, client: MemoryClient, stop: threading.Event, quiesce: Quiesce | None) -> CycleResult:
        self._expect_trusted()
        self._expect_import(client)
        started, resumed = self._now(), self.state.open is not None
        if quiesce is None and (found := self._still_unchanged(client)):
            return found
        if not resumed:
            self._agree(client)
        committed = self._begin(client, quiesce)
        if committed is None:
            self._close_cycle()
            resumed, committed = False, self._begin(client, quiesce)
        opened = self._expect_open()
        if stop.is_set():
            raise Stopped(f"VM {self.vm_id}: the cycle was stopped; the next run goes on with it")
        if not committed:
            self._send(client, opened, stop)
        durable = client.commit(self.vm_id, opened.cycle)
        size = len(self._maps.frozen)
        self._life.act()
        self._maps.frozen, self._maps.held = {}, 0
        self._stand_on(opened)
        seconds = (self._now() - started).total_seconds()
        return CycleResult(
            cycle=opened.cycle,
            kind=opened.kind,
            freeze_time=opened.freeze_time,
            durable_time=durable,
            blocks=size,
            bytes=size * BLOCK_BYTES,
            wire_bytes=size * BLOCK_BYTES,
            seconds=seconds,
            resumed=resumed,
            consistency=opened.consistency,
            quiesce_error=opened.quiesce_error,
        )

    def export_initial(self) -> tuple[CycleOpen, Image]:
        """The first copy, as media carry it; from then on the import is waited for."""
        self._settle()
        self._expect_trusted()
        if self.state.head is not None:
            raise EngineError(f"VM {self.vm_id} has replicated already, up to {self.state.head}; nothing to export")
        if self._maps.held:
            self._close_cycle()
        opened = self.state.open or self._freeze(None)
        self._change(open=msgspec.structs.replace(opened, waits_for_media=True))
        self._maps.held = len(self._maps.frozen)
        return self._message(opened), dict(self._maps.frozen)

    def _still_unchanged(self, client: MemoryClient) -> CycleResult | None:
        """Nothing has changed: the newest point stands for this time, too. None: there must be a real cycle."""
        now, state = self._now(), self.state
        quiet = not (self._maps.current or self._maps.frozen)
        if not quiet or not may_stand(state, now, self.unchanged_seconds) or state.head is None:
            return None
        try:
            durable = client.unchanged(self.vm_id, state.head, state.generation, now)
        except PeerRefused:
            return None
        return CycleResult(
            cycle=state.head,
            kind=CycleKind.Delta,
            freeze_time=now,
            durable_time=durable,
            blocks=0,
            bytes=0,
            wire_bytes=0,
            seconds=(self._now() - now).total_seconds(),
            resumed=False,
        )

    def _expect_trusted(self) -> None:
        if not self.state.trusted:
            raise MapNotTrusted(f"VM {self.vm_id}: the host stopped without a clean close; resynchronize")

    def _expect_import(self, client: MemoryClient) -> None:
        opened = self.state.open
        if opened is None or not opened.waits_for_media:
            return
        self._maps.held = len(self._maps.frozen)
        if client.status(self.vm_id).head is None:
            raise WaitingForMedia(f"VM {self.vm_id}: the initial copy was exported and is not imported yet")

    def _expect_open(self) -> OpenState:
        if self.state.open is None:
            raise RuntimeError(f"VM {self.vm_id}: no cycle is open")
        return self.state.open

    def _agree(self, client: MemoryClient) -> None:
        status = client.status(self.vm_id)
        known = agreed(self.state, status)
        if status.stale and status.head != known.compared:
            stale = client.stale(self.vm_id)
            if stale is None:
                raise MapNotTrusted(f"VM {self.vm_id}: the replica does not know where it differs; compare")
            self._maps.current |= stale
        self._amend(agreed(self.state, status))

    def _begin(self, client: MemoryClient, quiesce: Quiesce | None) -> bool | None:
        """Whether the replica has committed the open cycle already; None: it can never be finished."""
        opened = self.state.open or self._freeze(quiesce)
        message = self._message(opened)
        try:
            have = client.open_cycle(self.vm_id, message)
        except HeadConflict as conflict:
            if conflict.head == opened.cycle:
                return True
            found = with_head(self.state, conflict.head)
            if found is None:
                raise
            self._amend(found)
            return self._begin(client, quiesce)
        if have < self._maps.held:
            return None
        self._maps.held = have
        return False

    def _message(self, opened: OpenState) -> CycleOpen:
        blocks = dict.fromkeys(self._disks, 0)
        for disk, _ in self._maps.frozen:
            blocks[disk] += 1
        return CycleOpen(
            cycle=opened.cycle,
            parent=opened.parent,
            generation=self.generation,
            freeze_time=opened.freeze_time,
            kind=opened.kind,
            consistency=opened.consistency,
            disks={name: DiskPlan(size=disk.size, blocks=blocks[name]) for name, disk in self._disks.items()},
        )

    def _freeze(self, quiesce: Quiesce | None) -> OpenState:
        kind = CycleKind.Initial if self.state.head is None else CycleKind.Delta
        frozen: Image = {}

        def freeze() -> datetime:
            keys = set(self._maps.frozen) | self._maps.current
            if kind is CycleKind.Initial:
                keys |= {(name, block) for name, disk in self._disks.items() for block in disk.blocks}
            frozen.update({key: self._disks[key[0]].blocks.get(key[1], 0) for key in sorted(keys)})
            return self._now()

        freeze_time, consistency, error = freeze_at_rest(freeze, quiesce)
        self._files.cycles += 1
        opened = OpenState(
            cycle=f"{self._files.site}-{self._files.cycles}",
            parent=self.state.head,
            kind=kind,
            freeze_time=freeze_time,
            consistency=consistency,
            quiesce_error=error,
            blocks=len(frozen),
        )
        # As one: a kill before it leaves the maps as they were, for the freeze did not happen.
        self._change(open=opened)
        self._maps.frozen, self._maps.current, self._maps.held = frozen, set(), 0
        return opened

    def _send(self, client: MemoryClient, opened: OpenState, stop: threading.Event) -> None:
        """In two halves, so that a link can break in the middle."""
        items = list(self._maps.frozen.items())
        middle = (self._maps.held + len(items) + 1) // 2
        for end in (middle, len(items)):
            if stop.is_set():
                raise Stopped(f"VM {self.vm_id}: the cycle was stopped; the next run goes on with it")
            if self._maps.held < end:
                have = client.put(self.vm_id, opened.cycle, dict(items[self._maps.held : end]), self._maps.held)
                self._life.act()
                self._maps.held = have

    def compare(
        self,
        client: MemoryClient,
        *,
        basis: HashBasis = HashBasis.Stored,
        stop: threading.Event | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> CompareResult:
        """Compare the disks with the replica's head: the way back where no map can tell."""
        self._settle()
        self._expect_import(client)
        self._close_cycle()
        status = client.status(self.vm_id)
        if status.generation > self.generation:
            self._change(superseded_by=status.generation)
            raise StaleGeneration(status.generation, f"generation {self.generation} is over")
        sizes = {name: disk.size for name, disk in self._disks.items()}
        if status.head is not None and dict(status.disks) != sizes:
            raise PeerRefused(409, "DiskSetChanged", f"disks {sizes} here, {dict(status.disks)} there: not comparable")
        different = self._different(client, stop or threading.Event(), progress) if status.head else 0
        head = status.head
        self._change(head=head, compared=head, trusted=True, head_time=None, lineage=(), given_up=None)
        return CompareResult(len(self._disks) * 8, different, 0.0)

    def _different(
        self, client: MemoryClient, stop: threading.Event, progress: Callable[[int, int], None] | None
    ) -> int:
        there = client.hashes(self.vm_id)
        if stop.is_set():
            raise Stopped(f"VM {self.vm_id}: the comparison was stopped")
        here = {(name, block): value for name, disk in self._disks.items() for block, value in disk.blocks.items()}
        different = {key for key in here | there if here.get(key, 0) != there.get(key, 0)}
        if not (self.state.trusted and self.state.head is not None):
            self._change(trusted=False)
            self._maps.current, self._maps.frozen, self._maps.held = set(), {}, 0
        self._maps.current |= different
        if progress is not None:
            progress(len(here), len(here))
        return len(different)
