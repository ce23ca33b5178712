"""Random lives of a replicated VM, compared step by step with a model that holds whole images in memory."""

import shutil
import tempfile
import threading
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from secondsite.agent.lab.engine import Clone, LinkError, PeerRefused, PointInUse, Stopped
from secondsite.agent.lab.engine.client import FrameStream
from secondsite.agent.lab.engine.frames import BuiltFrame
from support.engine_pair import BLOCK, Pair
from support.engine_soak import wait_until

SIZES = {"a": 6 * BLOCK, "b": 2 * BLOCK + 77}
Image = dict[str, bytearray]


def copied(image: Image) -> Image:
    return {name: bytearray(content) for name, content in image.items()}


class Replication(RuleBasedStateMachine):
    """`disks` is what the guest wrote, `points` what each recovery point must be, `clones` what each clone must be."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.pair = Pair(self.folder, SIZES)
        self.disks: Image = {name: bytearray(size) for name, size in SIZES.items()}
        self.points: dict[str, Image] = {}
        self.frozen: Image | None = None
        self.clones: dict[str, Image] = {}
        self.open_clones: dict[str, Clone] = {}
        self.counter = 0

    def teardown(self) -> None:
        self.close_clones()
        self.pair.__exit__()
        shutil.rmtree(self.folder)

    def close_clones(self) -> None:
        for clone in self.open_clones.values():
            clone.close()
        self.open_clones.clear()

    @rule(
        disk=st.sampled_from(sorted(SIZES)),
        start=st.floats(0, 1),
        length=st.integers(1, 2 * BLOCK),
        fill=st.booleans(),
    )
    def write(self, disk: str, start: float, length: int, fill: bool) -> None:
        offset = int(start * (SIZES[disk] - 1))
        self.counter += 1
        data = bytes([self.counter % 255 + 1 if fill else 0]) * min(length, SIZES[disk] - offset)
        self.pair.disks[disk].write(offset, data)
        self.disks[disk][offset : offset + len(data)] = data

    @rule()
    def run_cycle(self) -> None:
        expected = self.frozen or copied(self.disks)
        result = self.pair.cycle()
        assert result.resumed is (self.frozen is not None)
        self.points[result.cycle] = expected
        self.frozen = None

    @precondition(lambda self: self.frozen is None)
    @rule(broken=st.booleans())
    def break_the_link(self, broken: bool) -> None:
        """A cycle that is frozen, perhaps sent in part, and not committed."""

        def cut(stream: FrameStream, frame: BuiltFrame, *_: object) -> None:
            stream._channel.send(b"%x\r\n" % frame.size + frame.head[: 40 if broken else 0])
            raise LinkError("cut")

        self.disks["a"][0] = self.disks["a"][0] ^ 1
        self.pair.disks["a"].write(0, bytes(self.disks["a"][:1]))
        expected = copied(self.disks)
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(FrameStream, "send", cut)
            with pytest.raises(LinkError):
                self.pair.cycle()
        self.frozen = expected

    @rule(clean=st.booleans())
    def restart_source(self, clean: bool) -> None:
        self.pair.restart_source(clean=clean)

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

    def opened(self, name: str) -> Clone:
        if name not in self.open_clones:
            self.open_clones[name] = self.pair.target.open_clone(name)
        return self.open_clones[name]

    @invariant()
    def disks_are_what_was_written(self) -> None:
        for name, expected in self.disks.items():
            assert self.pair.disks[name].read(0, SIZES[name]) == expected

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


Replication.TestCase.settings = settings(max_examples=50, stateful_step_count=20, deadline=None)
TestReplication = Replication.TestCase


def test_a_cycle_is_not_run_twice_at_once(tmp_path: Path) -> None:
    with Pair(tmp_path, SIZES, rate=20_000.0) as pair:
        pair.disks["a"].write(0, b"x" * 6 * BLOCK)
        stop = threading.Event()
        running = pair.start_cycle(stop)
        wait_until(lambda: pair.source.progress().cycle is not None, 20)
        with pytest.raises(RuntimeError, match="running already"):
            pair.cycle()
        with pytest.raises(RuntimeError, match="stop the running cycle"):
            pair.source.abandon()
        stop.set()
        assert isinstance(running.exception(timeout=20), Stopped)


def test_a_merge_that_is_refused_changes_nothing(tmp_path: Path) -> None:
    with Pair(tmp_path, SIZES) as pair:
        pair.cycle()
        before = (tmp_path / "target/catalog.log").read_bytes()
        with pytest.raises(PointInUse, match="newest"):
            pair.target.merge(pair.target.points()[0].id)
        assert (tmp_path / "target/catalog.log").read_bytes() == before


def test_an_unknown_vm_is_refused(tmp_path: Path) -> None:
    with Pair(tmp_path, SIZES) as pair, pytest.raises(PeerRefused, match="UnknownVM"):
        pair.client.status("another")
