"""Every byte class of every stored file, one byte changed: detected, named, mended or refused, and never served."""

import contextlib
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secondsite.agent.lab.engine import (
    DamagedBlock,
    DataServer,
    EngineError,
    PeerClient,
    ReplicationSource,
    SourceDisk,
    Stopped,
    StoreDamaged,
    TargetStore,
)
from secondsite.agent.lab.engine.check import fsck
from secondsite.agent.lab.engine.primary.state import load_state
from secondsite.agent.lab.engine.replica.layer import Layer
from support.engine_damage import SIZES, Truth, cycles, disk_folder, flip
from support.engine_pair import BLOCK, Pair, pattern


@dataclass(frozen=True)
class Sample:
    """A replica with a base, a merged layer, layers from the wire, an open cycle and a clone; and its source."""

    folder: Path
    truth: Truth = field(repr=False)

    @property
    def framed(self) -> Path:
        return self._layer(-1)

    @property
    def merged(self) -> Path:
        return self._layer(1)

    def _layer(self, number: int) -> Path:
        return self.folder / "target/disks/a/layers" / f"{self.truth.points[number]}.lay"


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    folder = tmp_path_factory.mktemp("sample")
    with Pair(folder, SIZES) as pair:
        truth = cycles(pair, 5)
        for number in (0, 2):
            pair.target.merge(truth.points[number])
        for number in (2, 0):
            truth.forget(truth.points[number])
        clone = pair.target.clone(truth.points[0], "c")
        clone.write("a", BLOCK + 5, pattern(500, 100))
        clone.close()
        pair.disks["a"].write(6 * BLOCK, pattern(300))
        stop = threading.Event()
        stop.set()
        with pytest.raises(Stopped):
            pair.cycle(stop)
    return Sample(folder, truth)


def index_start(sample: Sample) -> int:
    return Layer(sample.framed).content_end


def payload_start(sample: Sample) -> int:
    return int(Layer(sample.framed).index["offset"][0])


# Per class its file, and the range of its bytes (None: to the end; negative: from the end).
CLASSES: dict[str, Callable[[Sample], tuple[Path, int, int | None]]] = {
    "catalogue": lambda at: (at.folder / "target/catalog.log", 0, None),
    "catalogue's last line": lambda at: (at.folder / "target/catalog.log", -120, None),
    "frame header": lambda at: (at.framed, 0, 64),
    "frame table": lambda at: (at.framed, 64, payload_start(at)),
    "frame payload": lambda at: (at.framed, payload_start(at), index_start(at)),
    "layer index": lambda at: (at.framed, index_start(at), -88),
    "layer trailer": lambda at: (at.framed, -88, None),
    "merged content": lambda at: (at.merged, 0, 2 * BLOCK),
    "merged index": lambda at: (at.merged, -200, -88),
    "merged trailer": lambda at: (at.merged, -88, None),
    "base content": lambda at: (at.folder / "target/disks/a/base.raw", 0, None),
    "base digests": lambda at: (at.folder / "target/disks/a/base.hashes", 0, None),
    "base hashes": lambda at: (at.folder / "target/disks/a/base.xxh3", 0, None),
}


def flipped(sample: Sample, copy: Path, kind: str, place: float, bits: int) -> tuple[Path, bool]:
    """Change one byte of a class in a copy of the sample; the file, and whether its byte means anything."""
    shutil.copytree(sample.folder, copy)
    path, start, end = CLASSES[kind](sample)
    size = path.stat().st_size
    start, end = start % (size + 1) if start < 0 else start, size if end is None else end % size
    offset = start + int(place * (end - start))
    path = copy / path.relative_to(sample.folder)
    meant = kind != "base content" or any(path.read_bytes()[offset // BLOCK * BLOCK :][:BLOCK])
    flip(path, offset, bits)
    return path, meant


def served(store: TargetStore, truth: Truth) -> list[bool]:
    """Per block of every point, whether it could be read; AssertionError where it is not the truth."""
    readable = []
    for point in truth.points:
        for name, size in SIZES.items():
            for offset in range(0, size, BLOCK):
                length = min(BLOCK, size - offset)
                try:
                    found = store.read_point(point, name, offset, length)
                except DamagedBlock:
                    readable.append(False)
                else:
                    assert found == truth.image(point)[name][offset : offset + length], (point, name, offset)
                    readable.append(True)
    return readable


@pytest.mark.parametrize("kind", list(CLASSES))
@settings(max_examples=5, deadline=None)
@given(place=st.floats(0, 1, exclude_max=True), bits=st.integers(1, 255))
def test_a_changed_byte_is_detected_and_never_served(sample: Sample, kind: str, place: float, bits: int) -> None:
    with TemporaryDirectory() as folder:
        copy = Path(folder) / "copy"
        path, meant = flipped(sample, copy, kind, place, bits)
        named = {finding.where for finding in fsck.check(copy / "target").findings}
        assert (path in named or path.with_name("base.raw") in named) == meant
        try:
            store = TargetStore(copy / "target", "vm")
        except StoreDamaged:
            assert path.name == "catalog.log"
        else:
            told = served(store, sample.truth)
            assert all(told) or any(point.damaged for point in store.points())
            store.close()
        fsck.repair(copy / "target")
        mends_alone = kind not in ("frame payload", "merged content", "base content")
        if mends_alone:
            assert fsck.check(copy / "target").clean
        store = TargetStore(copy / "target", "vm")
        assert [point.id for point in store.points()] == sample.truth.points
        # Damage of the base may be hidden under newer layers at every point.
        visible = any(point.damaged for point in store.points())
        assert all(served(store, sample.truth)) == (not visible)
        assert not (visible and mends_alone)
        store.close()


@pytest.mark.parametrize("kind", ["frame payload", "merged content", "base content"])
@settings(max_examples=4, deadline=None)
@given(place=st.floats(0, 1, exclude_max=True), bits=st.integers(1, 255))
def test_what_the_source_still_holds_comes_back(sample: Sample, kind: str, place: float, bits: int) -> None:
    with TemporaryDirectory() as folder:
        copy = Path(folder) / "copy"
        flipped(sample, copy, kind, place, bits)
        with both_sides(copy) as (source, client, store):
            with_damage = served(store, sample.truth)
            source.abandon()
            source.run_cycle(client)
            # What the guest has overwritten since is gone for good: block 7, and the first of disk b.
            lost = [index for index, readable in enumerate(served(store, sample.truth)) if not readable]
            assert {index % 11 for index in lost} <= {7, 8}
            assert with_damage.count(False) >= len(lost)


@contextlib.contextmanager
def both_sides(copy: Path) -> Iterator[tuple[ReplicationSource, PeerClient, TargetStore]]:
    """Open the replica and the source in a copy of the sample."""
    with contextlib.ExitStack() as stack:
        store = stack.enter_context(contextlib.closing(TargetStore(copy / "target", "vm")))
        server = stack.enter_context(
            contextlib.closing(DataServer("127.0.0.1", 0, None, lambda _: store, lambda *_: "source"))
        )
        server.start()
        disks = {name: SourceDisk(copy / f"{name}.raw", size) for name, size in SIZES.items()}
        for disk in disks.values():
            stack.enter_context(contextlib.closing(disk))
        source = stack.enter_context(contextlib.closing(ReplicationSource(copy / "source", "vm", disks)))
        yield source, PeerClient("127.0.0.1", server.port, None), store


def test_every_byte_of_a_sources_state_counts(sample: Sample, tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    whole = (sample.folder / "source/state.json").read_bytes()
    for offset in range(len(whole)):
        path.write_bytes(whole[:offset] + bytes([whole[offset] ^ 1 + offset % 255]) + whole[offset + 1 :])
        with pytest.raises(EngineError, match="cannot be read"):
            load_state(path)
    path.write_bytes(whole)
    assert load_state(path) is not None


def test_a_part_is_kept_up_to_the_changed_byte(tmp_path: Path) -> None:
    with Pair(tmp_path, SIZES) as pair:
        truth = cycles(pair, 1)
        pair.disks["a"].write(0, b"".join(pattern(200 + block) for block in range(8)))
        with pytest.MonkeyPatch.context() as patch:
            # The cycle stays open.
            patch.setattr(pair.target.receiver, "commit", refuse)
            with pytest.raises(EngineError):
                pair.cycle()
        (part,) = (disk_folder(pair) / "incoming").iterdir()
        pair.target.close()
        flip(part, part.stat().st_size // 2)
        assert [finding.where for finding in fsck.check(pair.folder / "target").findings] == [part]
        pair._open_target()
        assert served(pair.target, truth).count(False) == 0
        assert pair.matches(pair.cycle().cycle)


def refuse(*_: object) -> None:
    raise StoreDamaged("not now")


@pytest.mark.parametrize("name", ["a.map", "a.raw"])
@settings(max_examples=4, deadline=None)
@given(place=st.floats(0, 1, exclude_max=True), bits=st.integers(1, 255))
def test_a_clones_own_files_never_touch_a_point(sample: Sample, name: str, place: float, bits: int) -> None:
    # What a clone wrote itself has no digests: the one thing in a store whose damage nobody sees.
    with TemporaryDirectory() as folder:
        copy = Path(folder) / "copy"
        shutil.copytree(sample.folder, copy)
        path = copy / "target/clones/c" / name
        flip(path, int(place * path.stat().st_size), bits)
        store = TargetStore(copy / "target", "vm")
        assert all(served(store, sample.truth))
        store.close()


def test_the_sample_is_what_the_classes_mean(sample: Sample) -> None:
    assert fsck.check(sample.folder / "target").clean
    assert sample.framed.read_bytes()[:4] == b"SSfr"
    assert sample.merged.read_bytes()[:4] != b"SSfr"
