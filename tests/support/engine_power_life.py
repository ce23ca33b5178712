"""A short life of a replicated VM, recorded beneath its files, with what each side had promised at every moment."""

import contextlib
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from secondsite.agent.lab.engine import Freeze, LinkError, PeerRefused, ReplicationSource
from secondsite.agent.lab.engine.port import syncer
from secondsite.agent.lab.engine.port.client import PeerSession
from secondsite.agent.lab.engine.port.frames import ReceivedFrame
from secondsite.agent.lab.engine.port.stream import FrameStream
from secondsite.agent.lab.engine.primary import cycle
from secondsite.agent.lab.engine.primary.cycle import CycleRun
from secondsite.agent.lab.engine.replica.part import IncomingPart
from secondsite.wire.peer import CycleCommit, CycleCommitted, CycleOpen, CycleOpened
from support.engine_pair import BLOCK, Pair
from support.engine_power import Recorder

SIZES = {"a": 100 * BLOCK, "b": 2 * BLOCK + 77}
# Where in a block the clones write a sector.
CLONED = 1024
# Per disk its blocks; equal ones are one object.
Image = dict[str, list[bytes]]


@dataclass(frozen=True)
class Ledger:
    """What was acknowledged. `leaving` and `unclear`: somebody asked to remove or make these, and got no answer yet."""

    points: frozenset[str] = frozenset()
    leaving: frozenset[str] = frozenset()
    gone: frozenset[str] = frozenset()
    clones: Mapping[str, str] = field(default_factory=dict)
    unclear: frozenset[str] = frozenset()
    dropped: frozenset[str] = frozenset()
    # Per clone the blocks of disk a in which its guest flushed a sector.
    flushed: Mapping[str, frozenset[int]] = field(default_factory=dict)
    held: tuple[str, Mapping[str, int]] | None = None
    source_head: str | None = None
    # The disks at a clean close, while it lasts.
    closed: Image | None = None


class Life:
    """Lives when it is made; the pair is gone afterwards, the recording and the truth stay."""

    def __init__(
        self, world: Path, seed: int, steps: int = 45, sabotage: Callable[[pytest.MonkeyPatch], None] | None = None
    ) -> None:
        self.random = random.Random(seed)
        self.recorder = Recorder(world)
        self.ledger = Ledger()
        self.truth: dict[str, Image] = {}
        self.frames: dict[tuple[str, str], dict[int, bytes]] = {}
        self.commits: dict[str, CycleCommit] = {}
        self._blocks: dict[bytes, bytes] = {}
        self._clones = 0
        # How often the power was cut in it.
        self.cuts = 0
        with self.recorder.recording(), pytest.MonkeyPatch.context() as patched:
            if sabotage is not None:
                sabotage(patched)
            self._overhear(patched)
            with Pair(world, SIZES) as self.pair:
                self._live(steps)
                self.ledger = replace(self.ledger, held=None)
        self._promise(closed=self._image())

    def _live(self, steps: int) -> None:
        self._attend()
        for block in range(0, 100, 4):
            self.pair.disks["a"].write(block * BLOCK, self._content(BLOCK))
        self.pair.disks["a"].write(BLOCK, bytes(99 * BLOCK // 2))
        self.pair.disks["b"].write(0, self._content(SIZES["b"]))
        for _ in range(steps):
            step = self.random.choice(self._steps())
            step()
            self.recorder.note_mappings()

    # Steps

    def _steps(self) -> list[Callable[[], None]]:
        often = [self.write] * 4 + [self.run_cycle] * 4 + [self.write_clone] * 3 + [self.merge] * 2
        restarts = [self.restart_target, self.restart_source, self.kill_target]
        return often + restarts + [self.cut_link, self.abandon, self.clone, self.drop_clone]

    def write(self) -> None:
        for _ in range(self.random.randrange(1, 4)):
            disk = self.random.choice(["a", "a", "b"])
            offset = self.random.randrange(SIZES[disk])
            length = min(self.random.choice([300, 4096, BLOCK, 2 * BLOCK]), SIZES[disk] - offset)
            data = bytes(length) if self.random.random() < 0.3 else self._content(length)
            self.pair.disks[disk].write(offset, data)

    def run_cycle(self) -> None:
        # A connection that was cut may be heard of only now, and is out then.
        with contextlib.suppress(LinkError):
            self._promise(source_head=self.pair.cycle().cycle)

    def cut_link(self) -> None:
        """A cycle of which some frames arrive. The second half of the disk is written, so that there are some."""
        self.pair.disks["a"].write(0, bytes(100 * BLOCK // 2))
        for block in range(50, 100, 5):
            self.pair.disks["a"].write(block * BLOCK, self._content(BLOCK))
        left = self.random.randrange(3)
        send = FrameStream.send

        def cut(stream: FrameStream, *arguments: Any) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise LinkError("cut")
            send(stream, *arguments)

        with pytest.MonkeyPatch.context() as patched, contextlib.suppress(LinkError, PeerRefused, OSError):
            patched.setattr(FrameStream, "send", cut)
            self._promise(source_head=self.pair.cycle().cycle)

    def abandon(self) -> None:
        self.pair.source.abandon()

    def merge(self) -> None:
        pinned = set(self.ledger.clones.values())
        free = [point.id for point in self.pair.target.points()[:-1] if point.id not in pinned]
        if free:
            gone = self.random.choice(free)
            self._promise(points=self.ledger.points - {gone}, leaving=self.ledger.leaving | {gone})
            self.pair.target.merge(gone)
            self._promise(leaving=self.ledger.leaving - {gone}, gone=self.ledger.gone | {gone})

    def clone(self) -> None:
        points = self.pair.target.points()
        if points and len(self.ledger.clones) < 3:
            self._clones += 1
            name, point = f"clone-{self._clones % 4}", self.random.choice(points).id
            if name not in self.ledger.clones:
                flushed = {clone: blocks for clone, blocks in self.ledger.flushed.items() if clone != name}
                unclear, dropped = self.ledger.unclear | {name}, self.ledger.dropped - {name}
                self._promise(unclear=unclear, dropped=dropped, flushed=flushed)
                self.pair.target.clone(point, name).close()
                self._promise(unclear=self.ledger.unclear - {name}, clones={**self.ledger.clones, name: point})

    def write_clone(self) -> None:
        """What its guest did not flush is promised to nobody; what it did not write is."""
        if self.ledger.clones:
            name = self.random.choice(sorted(self.ledger.clones))
            clone = self.pair.target.open_clone(name)
            block = self.random.randrange(100)
            clone.write("a", block * BLOCK + CLONED, b"\xcc" * 512)
            self.recorder.note_mappings()
            if self.random.random() < 0.5:
                clone.sync()
                flushed = self.ledger.flushed.get(name, frozenset()) | {block}
                self._promise(flushed={**self.ledger.flushed, name: flushed})
            clone.close()

    def drop_clone(self) -> None:
        if self.ledger.clones:
            name = self.random.choice(sorted(self.ledger.clones))
            kept = {clone: point for clone, point in self.ledger.clones.items() if clone != name}
            self._promise(unclear=self.ledger.unclear | {name}, clones=kept)
            self.pair.target.drop_clone(name)
            self._promise(unclear=self.ledger.unclear - {name}, dropped=self.ledger.dropped | {name})

    def restart_target(self) -> None:
        self.pair.restart_target()
        self._look_again()

    def restart_source(self) -> None:
        if self.random.random() < 0.5:
            self.pair.restart_source()
        else:
            image = self._image()
            self.pair.source.close()
            self._promise(closed=image)
            # From here on a new life of it begins: what was promised of the old one is over when it first writes.
            self._promise(closed=None)
            self.pair.restart_source(clean=True)
        self._attend()

    def kill_target(self) -> None:
        """The target's process dies in the middle of something, and is started again."""
        self.recorder.kill_after(self.random.randrange(14), self.recorder.root / "target")
        with contextlib.suppress(LinkError, PeerRefused, OSError):
            self.random.choice([self.run_cycle, self.merge, self.clone, self.drop_clone])()
        self.pair.target.close()
        self.recorder.revive()
        self.pair.restart_target()
        self._look_again()

    # What is noted beside the steps

    def _look_again(self) -> None:
        """What was asked for and not answered either happened or it did not: a restart has decided."""
        points = {point.id for point in self.pair.target.points()}
        clones = {info.clone_id: info.point_id for info in self.pair.target.clones()}
        self._promise(
            points=self.ledger.points | (self.ledger.leaving & points),
            gone=self.ledger.gone | (self.ledger.leaving - points),
            leaving=frozenset(),
            dropped=self.ledger.dropped | (self.ledger.unclear - set(clones)),
            unclear=frozenset(),
            clones=clones,
        )

    def _promise(self, **changes: Any) -> None:
        self.ledger = replace(self.ledger, **changes)
        self.recorder.promise(self.ledger)

    def _attend(self) -> None:
        source: ReplicationSource = self.pair.source
        source._at_freeze = self._frozen

    def _frozen(self, freeze: Freeze) -> None:
        self.truth[freeze.cycle] = self._image()

    def _image(self) -> Image:
        return {name: self.blocks(disk.path.read_bytes()) for name, disk in self.pair.disks.items()}

    def blocks(self, content: bytes) -> list[bytes]:
        pieces = [content[start : start + BLOCK] for start in range(0, len(content), BLOCK)]
        return [self._blocks.setdefault(piece, piece) for piece in pieces]

    def _content(self, length: int) -> bytes:
        return self.random.randbytes(length)

    def _overhear(self, patched: pytest.MonkeyPatch) -> None:
        """One thing at a time, so that the order of the log is that of the promises; and remember what was sent."""
        acknowledge, append = CycleRun._acknowledge, IncomingPart.append
        open_cycle, commit = PeerSession.open_cycle, PeerSession.commit

        def acknowledged(run: CycleRun, have: Mapping[str, int]) -> None:
            before = self.ledger.held[1] if self.ledger.held and self.ledger.held[0] == run.cycle.cycle else {}
            self._promise(held=(run.cycle.cycle, {**before, **have}))
            acknowledge(run, have)

        def opened(peer: PeerSession, vm: str, message: CycleOpen) -> CycleOpened:
            if self.ledger.held is not None and self.ledger.held[0] != message.cycle:
                # It replaces the one that was open.
                self._promise(held=None)
            return open_cycle(peer, vm, message)

        def committed(peer: PeerSession, vm: str, cycle_id: str, message: CycleCommit) -> CycleCommitted:
            self.commits[cycle_id] = message
            answer = commit(peer, vm, cycle_id, message)
            self._promise(points=self.ledger.points | {answer.point}, held=None)
            return answer

        def appended(part: IncomingPart, writer: int, frame: ReceivedFrame) -> None:
            key = part.path.stem, part.path.parent.parent.name
            self.frames.setdefault(key, {})[frame.header.sequence] = frame.head + bytes(frame.payload)
            append(part, writer, frame)

        patched.setattr(CycleRun, "_acknowledge", acknowledged)
        patched.setattr(PeerSession, "open_cycle", opened)
        patched.setattr(PeerSession, "commit", committed)
        patched.setattr(IncomingPart, "append", appended)
        patched.setattr(cycle, "_STREAMS", 1)
        patched.setattr(cycle, "_POLL_SECONDS", 60)
        patched.setattr(syncer, "_SYNC_BYTES", 200_000)
