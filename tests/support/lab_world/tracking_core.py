"""What a source in memory is before it sends anything: its maps and what is durably known of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path

import msgspec

from secondsite.agent.lab.engine import (
    EngineError,
    Progress,
)
from secondsite.agent.lab.engine.primary.state import OpenState, SourceState, taken_up
from secondsite.wire.peer import BLOCK_BYTES
from support.lab_world.files import SiteFiles, TrackingFiles
from support.lab_world.images import Key, MemoryDisk
from support.lab_world.life import Life


class TrackingCore:
    """The tracked disks of one VM."""

    def __init__(
        self,
        files: SiteFiles,
        life: Life,
        root: Path,
        vm_id: str,
        disks: Mapping[str, MemoryDisk],
        now: Callable[[], datetime],
    ) -> None:
        self.vm_id = vm_id
        self.root = root
        self.comparing: tuple[int, int] | None = None
        self._life = life
        self._files = files
        self._disks = dict(disks)
        self._now = now
        sizes = {name: disk.size for name, disk in self._disks.items()}
        fresh = SourceState(vm=vm_id, disks=sizes, generation=1, boot_id=str(files.boot))
        found = files.tracking.get(root)
        self._maps = found or TrackingFiles(fresh)
        state = taken_up(found.state if found else None, fresh, root, whole=True)
        files.tracking[root] = self._maps
        self._save(state)
        self._settle()
        for disk in self._disks.values():
            if disk.observer is not None:
                raise EngineError(f"disk {disk.name} is replicated already; close that replication first")
            disk.observer = self

    def before_write(self, key: Key) -> None:
        """A guest is about to write."""
        self._maps.current.add(key)

    @property
    def state(self) -> SourceState:
        """What is durably known."""
        return self._maps.state

    @property
    def map_trusted(self) -> bool:
        return self.state.trusted

    @property
    def head(self) -> str | None:
        return self.state.head

    @property
    def common_point(self) -> str | None:
        return self.state.common_point

    @property
    def open_cycle(self) -> OpenState | None:
        return self.state.open

    @property
    def generation(self) -> int:
        return self.state.generation

    @property
    def superseded_by(self) -> int | None:
        return self.state.superseded_by

    @property
    def sizes(self) -> dict[str, int]:
        return {name: disk.size for name, disk in self._disks.items()}

    @property
    def written_bytes(self) -> int:
        return len(self._maps.current) * BLOCK_BYTES

    @property
    def initial_done(self) -> bool:
        return self.state.head is not None

    def distrust(self) -> None:
        """As after a crash of the host."""
        self._change(trusted=False)

    def begin_term(self, generation: int) -> None:
        """Stay the primary in a newer generation."""
        if generation < self.generation:
            raise EngineError(f"VM {self.vm_id}: generation {generation} is older than ours, {self.generation}")
        self._close_cycle()
        self._change(generation=generation, superseded_by=None)

    def abandon(self) -> None:
        """Give up the open cycle; its blocks go into the next."""
        self._close_cycle()

    def progress(self) -> Progress:
        """Numbers for people."""
        opened, frozen, held = self.state.open, self._maps.frozen, self._maps.held
        owed = set(list(frozen)[held:]) | self._maps.current
        pending = len(owed) * BLOCK_BYTES
        if opened is None:
            return Progress(None, None, None, 0, 0, 0, 0, 0.0, pending)
        total, acknowledged = len(frozen) * BLOCK_BYTES, held * BLOCK_BYTES
        return Progress(
            opened.cycle, opened.kind, opened.freeze_time, len(frozen), total, acknowledged, acknowledged, 0.0, pending
        )

    def close(self) -> None:
        """A clean stop."""
        self._settle()
        self._detach()
        self._change(clean=True)

    def discard(self) -> None:
        """Stop tracking for good."""
        self._detach()
        self._life.act()
        self._files.tracking.pop(self.root, None)

    def _detach(self) -> None:
        for disk in self._disks.values():
            if disk.observer is self:
                disk.observer = None

    def _close_cycle(self) -> None:
        self._settle()
        if self.state.open is not None:
            self._change(open=None, given_up=self.state.open.cycle)
            self._maps.held = 0

    def _settle(self) -> None:
        """A kill between the release of the maps and the note of it."""
        opened = self.state.open
        if self.state.trusted and opened and opened.blocks is not None and len(self._maps.frozen) < opened.blocks:
            self._maps.frozen, self._maps.held = {}, 0
            self._stand_on(opened)

    def _stand_on(self, cycle: OpenState) -> None:
        self._change(
            head=cycle.cycle,
            head_time=cycle.freeze_time,
            lineage=(),
            open=None,
            given_up=None,
            superseded_by=None,
            compared=None,
        )

    def _change(self, **changes: object) -> None:
        self._amend(msgspec.structs.replace(self.state, **changes))

    def _amend(self, state: SourceState) -> None:
        if state is not self.state:
            self._save(state)

    def _save(self, state: SourceState) -> None:
        self._life.act()
        self._maps.state = state
