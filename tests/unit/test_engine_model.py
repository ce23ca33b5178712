"""Random lives of a replicated VM, compared step by step with a model that holds whole images in memory."""

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from secondsite.agent.lab.engine import HeadConflict, LinkError, MapNotTrusted
from secondsite.agent.lab.engine.media.adopt import adopt
from secondsite.agent.lab.engine.port.client import PeerSession
from secondsite.agent.lab.engine.port.frames import BuiltFrame
from secondsite.agent.lab.engine.port.stream import FrameStream
from secondsite.wire.peer import HashBasis
from support.engine_model import SIZES, Modelled, copied
from support.engine_pair import BLOCK, START


class Replication(Modelled):
    """The rules, and what holds after each."""

    @initialize(cycles=st.integers(0, 3))
    def begin(self, cycles: int) -> None:
        """Mostly there is something to lose already."""
        for _ in range(cycles):
            self.write("a", 0.3, 2 * BLOCK, fill=True)
            self.write("b", 0.9, BLOCK, fill=True)
            self.run_cycle()

    @rule(
        disk=st.sampled_from(sorted(SIZES)),
        start=st.floats(0, 1),
        length=st.integers(1, 2 * BLOCK),
        fill=st.booleans(),
    )
    def write(self, disk: str, start: float, length: int, fill: bool) -> None:
        offset = int(start * (SIZES[disk] - 1))
        self.counter += 1
        self.put(disk, offset, bytes([self.counter % 255 + 1 if fill else 0]) * min(length, SIZES[disk] - offset))

    @precondition(lambda self: self.trusted and not self.replaced)
    @rule()
    def run_cycle(self) -> None:
        expected = self.frozen or copied(self.disks)
        if self.frozen is None:
            self.touched_since_freeze.clear()
        result = self.cycle()
        assert result.resumed is (self.frozen is not None)
        self.committed(result.cycle, expected)

    @precondition(lambda self: self.frozen is None and self.trusted and not self.replaced)
    @rule(broken=st.booleans(), give_up=st.booleans())
    def break_the_link(self, broken: bool, give_up: bool) -> None:
        """A cycle that is frozen, perhaps sent in part, and not committed."""

        def cut(stream: FrameStream, frame: BuiltFrame, *_: object) -> None:
            stream._channel.send(b"%x\r\n" % frame.size + frame.head[: 40 if broken else 0])
            raise LinkError("cut")

        self.cycle_with(FrameStream, "send", cut)
        if give_up:
            self.abandon()

    @precondition(lambda self: self.frozen is None and self.trusted and not self.replaced)
    @rule(give_up=st.booleans())
    def lose_the_answer_to_a_commit(self, give_up: bool) -> None:
        """The point exists, and the source does not know it."""
        commit = PeerSession.commit

        def lost(peer: PeerSession, *arguments: Any) -> None:
            commit(peer, *arguments)
            raise LinkError("lost")

        self.cycle_with(PeerSession, "commit", lost)
        opened = self.pair.source.open_cycle
        assert opened is not None
        assert self.frozen is not None
        self.points[opened.cycle] = self.frozen
        if give_up:
            self.abandon()

    @rule(clean=st.booleans())
    def restart_source(self, clean: bool) -> None:
        """Clean: the host itself is started anew."""
        self.boots += clean
        self.pair.restart_source(clean=clean, boot_id=f"boot {self.boots}")
        assert self.pair.source.map_trusted is self.trusted

    @precondition(lambda self: len(self.points) > 1)
    @rule(lost=st.booleans())
    def crash_the_host_of_the_source(self, lost: bool) -> None:
        """What it had in memory is gone, the maps perhaps: nothing but a comparison of the disks helps."""
        self.boots += 1
        if lost:
            for path in self.folder.glob("source/*.current"):
                path.write_bytes(bytes(path.stat().st_size))
        self.pair.restart_source(boot_id=f"boot {self.boots}")
        self.trusted = False
        with pytest.raises(MapNotTrusted):
            self.pair.cycle()

    @rule(basis=st.sampled_from(HashBasis))
    def compare(self, basis: HashBasis) -> None:
        """All points stay, and the next cycle carries at least what differs from the newest."""
        self.pair.source.compare(self.pair.client, basis=basis)
        self.trusted, self.replaced = True, False
        self.frozen = None
        if self.points:
            assert self.pair.source.head == list(self.points)[-1]

    @precondition(lambda self: len(self.points) > 2)
    @rule(seeded=st.booleans(), old=st.sampled_from([0, 1, BLOCK, 3 * BLOCK]))
    def replace_the_replica(self, seeded: bool, old: int) -> None:
        """By an empty one, or by copies of the disks in which something is as it never was."""
        self.close_clones()
        self.pair.source.abandon()
        self.pair.target.discard()
        if seeded:
            for name, image in self.disks.items():
                (self.folder / f"{name}.copy").write_bytes(b"\x55" * min(old, len(image)) + image[old:])
            copies = {name: self.folder / f"{name}.copy" for name in self.disks}
            self.counter += 1
            adopt(
                self.folder / "target",
                "vm",
                copies,
                point=f"seed-{self.counter}",
                generation=0,
                freeze_time=START,
                stale=True,
                move=False,
            )
        self.pair.restart_target()
        self.points, self.clones, self.frozen = {}, {}, None
        self.touched = {(name, block) for name, size in SIZES.items() for block in range(-(-size // BLOCK))}
        self.replaced = self.pair.source.head != self.pair.target.head
        if self.replaced and self.trusted:
            with pytest.raises(HeadConflict):
                self.pair.cycle()

    @rule()
    def restart_target(self) -> None:
        self.close_clones()
        self.pair.restart_target()

    @precondition(lambda self: self.frozen is not None)
    @rule()
    def abandon(self) -> None:
        self.pair.source.abandon()
        self.frozen = None

    @precondition(lambda self: len(self.points) > 1)
    @rule(data=st.data())
    def merge(self, data: st.DataObject) -> None:
        pinned = {info.point_id for info in self.pair.target.clones()}
        free = [point for point in list(self.points)[:-1] if point not in pinned]
        if free:
            gone = data.draw(st.sampled_from(free))
            self.pair.target.merge(gone)
            del self.points[gone]

    @precondition(lambda self: len(self.points) > 1)
    @rule(seconds=st.integers(0, 300), keep_every=st.integers(0, 200), span=st.integers(0, 600))
    def retain(self, seconds: int, keep_every: int, span: int) -> None:
        pinned = {info.point_id for info in self.pair.target.clones()}
        self.pair.clock.forward(seconds)
        for gone in self.pair.target.apply_retention(self.pair.clock.now, keep_every, span):
            assert gone not in pinned
            assert gone != list(self.points)[-1]
            del self.points[gone]

    @precondition(lambda self: self.points)
    @rule(data=st.data())
    def scrub_and_copy(self, data: st.DataObject) -> None:
        point = data.draw(st.sampled_from(list(self.points)))
        assert self.pair.target.scrub(point) == []
        for name, expected in self.points[point].items():
            self.pair.target.materialise(point, name, self.folder / "copy.raw")
            assert (self.folder / "copy.raw").read_bytes() == expected

    @precondition(lambda self: self.points)
    @rule(data=st.data(), name=st.sampled_from(["c1", "c2"]))
    def clone(self, data: st.DataObject, name: str) -> None:
        if name not in self.clones:
            point = data.draw(st.sampled_from(list(self.points)))
            self.open_clones[name] = self.pair.target.clone(point, name)
            self.clones[name] = copied(self.points[point])

    @precondition(lambda self: self.clones)
    @rule(data=st.data(), start=st.floats(0, 1), length=st.integers(1, BLOCK + 9))
    def write_clone(self, data: st.DataObject, start: float, length: int) -> None:
        name = data.draw(st.sampled_from(sorted(self.clones)))
        offset = int(start * (SIZES["a"] - 1))
        content = b"\xaa" * min(length, SIZES["a"] - offset)
        self.opened(name).write("a", offset, content)
        self.clones[name]["a"][offset : offset + len(content)] = content

    @precondition(lambda self: self.clones)
    @rule(data=st.data())
    def drop_clone(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.clones)))
        self.opened(name).close()
        del self.open_clones[name]
        self.pair.target.drop_clone(name)
        del self.clones[name]

    @invariant()
    def disks_are_what_was_written(self) -> None:
        for name, expected in self.disks.items():
            assert self.pair.disks[name].read(0, SIZES[name]) == expected

    @invariant()
    def what_is_pending_is_what_may_differ(self) -> None:
        """Never too little, and no more than was written, or may have been lost."""
        if not self.trusted or self.pair.source.head not in self.points:
            return
        owed = self.owed()
        newest = self.points[self.pair.source.head]
        differing = {
            (name, start // BLOCK)
            for name, image in self.disks.items()
            for start in range(0, len(image), BLOCK)
            if image[start : start + BLOCK] != newest[name][start : start + BLOCK]
        }
        assert differing <= owed
        assert owed <= self.touched

    @invariant()
    def points_are_what_was_frozen(self) -> None:
        assert [point.id for point in self.pair.target.points()] == list(self.points)
        for point, image in self.points.items():
            for name, expected in image.items():
                assert self.pair.target.read_point(point, name, 0, SIZES[name]) == expected

    @invariant()
    def clones_are_what_was_written_to_them(self) -> None:
        for clone, image in self.clones.items():
            for name, expected in image.items():
                assert self.opened(clone).read(name, 0, SIZES[name]) == expected


Replication.TestCase.settings = settings(max_examples=60, stateful_step_count=20, deadline=None)
TestReplication = Replication.TestCase
