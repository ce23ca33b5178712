"""Opens what a power cut left behind and holds it against what was promised."""

import os
import random
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from secondsite.agent.lab.engine import (
    Clone,
    MapNotTrusted,
    PeerClient,
    ReplicationSource,
    SourceDisk,
    TargetStore,
    TokenBucket,
)
from secondsite.agent.lab.engine.blocks import block_count
from secondsite.agent.lab.engine.port.frames import FrameReader
from secondsite.agent.lab.engine.primary.state import load_state
from secondsite.agent.lab.engine.primary.tracker import Cell, DiskTracker
from secondsite.wire.peer import HashBasis
from support.engine_pair import BLOCK
from support.engine_power import Promised, Recorder
from support.engine_power_life import CLONED, SIZES, Image, Ledger, Life
from support.engine_power_states import PowerDisk


class Broken(AssertionError):
    """A promise was broken, or a wrong byte served."""


def check_target(folder: Path, ledger: Ledger, life: Life) -> None:
    store = TargetStore(folder / "target", "vm")
    try:
        _check_points(store, ledger, life)
        _check_clones(store, ledger, life)
        _check_digests(store)
        _check_held(store, ledger)
        _check_common_point(store, folder)
        _finish_cycle(store, life)
    finally:
        store.close()


def _check_points(store: TargetStore, ledger: Ledger, life: Life) -> None:
    points = [point.id for point in store.points()]
    if lost := ledger.points - set(points):
        raise Broken(f"acknowledged points {lost} are lost; there are {points}")
    if back := ledger.gone & set(points):
        raise Broken(f"points {back} were merged away, and are back")
    for point in points:
        _compare(store, point, life)


def _compare(store: TargetStore, point: str, life: Life) -> None:
    for name, size in SIZES.items():
        found = life.blocks(store.read_point(point, name, 0, size))
        if found != life.truth[point][name]:
            raise Broken(f"point {point}, disk {name}: {_differing(found, life.truth[point][name])} differ")


def _differing(found: list[bytes], expected: list[bytes]) -> set[int]:
    return {block for block, (one, other) in enumerate(zip(found, expected, strict=True)) if one != other}


def _check_clones(store: TargetStore, ledger: Ledger, life: Life) -> None:
    clones = {info.clone_id: info.point_id for info in store.clones()}
    for name, point in ledger.clones.items():
        if clones.get(name) != point:
            raise Broken(f"clone {name} of {point} was promised, there are {clones}")
    if back := ledger.dropped & set(clones):
        raise Broken(f"clones {back} were dropped, and are back")
    for name, point in clones.items():
        clone = store.open_clone(name)
        try:
            flushed = ledger.flushed.get(name, frozenset()) if name in ledger.clones else frozenset()
            _compare_clone(clone, life.truth[point], flushed)
        finally:
            clone.close()


def _compare_clone(clone: Clone, truth: Image, flushed: frozenset[int]) -> None:
    """Outside of the sector that clones write, a clone is its point; in it, the old or the new; flushed, the new."""
    for name, size in SIZES.items():
        content = clone.read(name, 0, size)
        for block, expected in enumerate(truth[name]):
            start = block * BLOCK
            found = content[start : start + BLOCK]
            written = found[CLONED : CLONED + 512] == b"\xcc" * 512
            if name == "a" and block in flushed and not written:
                raise Broken(f"clone {clone.clone_id}: what was flushed to block {block} is lost")
            if written:
                found = found[:CLONED] + expected[CLONED : CLONED + 512] + found[CLONED + 512 :]
            if found != expected:
                raise Broken(
                    f"clone {clone.clone_id}, disk {name}: block {block} is neither what it was nor is written"
                )


def _check_digests(store: TargetStore) -> None:
    """No file holds anything that its digests do not say, and a comparison would believe what is there."""
    result = store.scrub_files(threading.Event(), TokenBucket())
    if result.damaged or result.mended:
        raise Broken(f"after the cut {result.damaged} blocks were damaged, {result.mended} could be mended")
    for name, size in SIZES.items() if store.head is not None else ():
        pages = [store.hash_page(name, 0, block_count(size), basis) for basis in HashBasis]
        if pages[0] != pages[1]:
            raise Broken(f"disk {name}: the list of its hashes is not that of its content")


def _check_held(store: TargetStore, ledger: Ledger) -> None:
    if ledger.held is None:
        return
    cycle, frames = ledger.held
    status = store.status()
    if status.head == cycle:
        return
    have = status.open.have if status.open is not None and status.open.cycle == cycle else {}
    if any(have.get(name, 0) < count for name, count in frames.items()):
        raise Broken(f"of cycle {cycle} frames {frames} were acknowledged, held are {have}")


def _check_common_point(store: TargetStore, folder: Path) -> None:
    """A source that lived on can go on: the newest point is the one that it knows, or that of its open cycle."""
    state = load_state(folder / "source" / "state.json")
    known = set() if state is None else {state.head, state.given_up, state.open.cycle if state.open else None}
    if store.head is not None and store.head not in known:
        raise Broken(f"the source knows of {known}, the newest point is {store.head}")
    if state is not None and state.head is not None and store.head is None:
        raise Broken(f"the source knows of {state.head}, there is no point")


def _finish_cycle(store: TargetStore, life: Life) -> None:
    """What is held of an open cycle is good: with the rest it becomes the point that it was meant to be."""
    opened = store.status().open
    if opened is None or opened.cycle not in life.commits:
        return
    for name, have in opened.have.items():
        part = store.receiver.part(opened.cycle, name)
        writer = part.claim(have)
        frames = life.frames.get((opened.cycle, name), {})
        for sequence in sorted(frames):
            if sequence >= have:
                part.append(writer, FrameReader(_reader(frames[sequence])).read())
    store.receiver.commit(opened.cycle, life.commits[opened.cycle])
    _compare(store, opened.cycle, life)


def _reader(raw: bytes) -> Callable[[memoryview], None]:
    position = 0

    def read(view: memoryview) -> None:
        nonlocal position
        view[:] = raw[position : position + len(view)]
        position += len(view)

    return read


def check_source(folder: Path, ledger: Ledger, life: Life) -> None:
    for name in SIZES:
        if not (folder / f"{name}.raw").exists() and ReplicationSource.exists(folder / "source"):
            raise Broken(f"disk {name} is lost, and its tracking is not")
    disks = {name: SourceDisk(folder / f"{name}.raw", size) for name, size in SIZES.items()}
    source = ReplicationSource(folder / "source", "vm", disks, boot_id="another")
    try:
        _check_head(source, ledger, life)
        if ledger.closed is not None:
            _check_closed(source, ledger.closed, life)
        if source.map_trusted:
            _check_map(source, life)
        else:
            with pytest.raises(MapNotTrusted):
                source.run_cycle(PeerClient("127.0.0.1", 9, None))
    finally:
        source.close()
        for disk in disks.values():
            disk.close()


def _check_head(source: ReplicationSource, ledger: Ledger, life: Life) -> None:
    order = [None, *life.truth]
    if order.index(source.head) < order.index(ledger.source_head):
        raise Broken(f"the source knew {ledger.source_head} to be committed, and now knows of {source.head}")


def _check_closed(source: ReplicationSource, image: Image, life: Life) -> None:
    if not source.map_trusted:
        raise Broken("the source was closed cleanly, and its map is not trusted")
    for name, tracker in source.trackers.items():
        if life.blocks(tracker.disk.read(0, tracker.disk.size)) != image[name]:
            raise Broken(f"disk {name} is not what it was at a clean close")


def _check_map(source: ReplicationSource, life: Life) -> None:
    """All that differs from the newest point is pending, and the frozen image of an open cycle is whole."""
    for name, tracker in source.trackers.items():
        present = life.blocks(tracker.disk.read(0, tracker.disk.size))
        pending = set(np.flatnonzero((tracker._current != 0) | (tracker._frozen != Cell.Free)).tolist())
        if source.head is not None:
            forgotten = _differing(present, life.truth[source.head][name]) - pending
            if forgotten:
                raise Broken(f"disk {name}: blocks {forgotten} differ from the newest point and are not pending")
        if source.open_cycle is not None:
            _check_frozen(tracker, life.truth[source.open_cycle.cycle][name])


def _check_frozen(tracker: DiskTracker, truth: list[bytes]) -> None:
    plan = tracker.plan()
    owed = plan[tracker._frozen[plan] != Cell.Held]
    buffer = memoryview(bytearray(len(owed) * BLOCK))
    tracker.read_frozen(owed, buffer)
    for index, block in enumerate(owed.tolist()):
        if bytes(buffer[index * BLOCK : (index + 1) * BLOCK])[: len(truth[block])] != truth[block]:
            raise Broken(f"disk {tracker.name}: the frozen image of block {block} is not what it was at the freeze")


def check_cuts(life: Life, folder: Path, count: int, rng: random.Random) -> int:
    """Cut the power at `count` random instants of one host or the other, sometimes once more in the recovery."""
    recorder = life.recorder
    promised = [place + 1 for place, entry in enumerate(recorder.log) if isinstance(entry, Promised)]
    instants = sorted(
        rng.choice(promised) if rng.random() < 0.4 else rng.randrange(recorder.found, len(recorder.log) + 1)
        for _ in range(count)
    )
    disk, position = PowerDisk(recorder.folders), 0
    for number, instant in enumerate(instants):
        for entry in recorder.log[position:instant]:
            disk.take(entry)
        position = instant
        place = folder / f"cut-{number:04}"
        with pytest.MonkeyPatch.context() as patched:
            # Nobody will cut the power of this machine meanwhile.
            patched.setattr(os, "fsync", lambda _: None)
            patched.setattr(os, "fdatasync", lambda _: None)
            life.cuts += 1
            check_cut(life, disk, place, rng)
        shutil.rmtree(place)
    return len(instants)


def check_cut(life: Life, disk: PowerDisk, place: Path, rng: random.Random) -> None:
    ledger = disk.ledger or Ledger()
    if rng.random() < 0.3:
        disk.write(place, rng, lambda name: name != "target")
        check_source(place, ledger, life)
        return
    disk.write(place, rng, lambda name: name == "target")
    if rng.random() < 0.25:
        place = _cut_again(place, rng)
    check_target(place, ledger, life)


def _cut_again(place: Path, rng: random.Random) -> Path:
    """The power fails once more while the store recovers."""
    recorder = Recorder(place)
    with recorder.recording():
        TargetStore(place / "target", "vm").close()
    disk = PowerDisk(recorder.folders)
    for entry in recorder.log[: rng.randrange(recorder.found, len(recorder.log) + 1)]:
        disk.take(entry)
    again = place / "again"
    disk.write(again, rng, lambda name: name == "target")
    return again
