"""Random breaks: whatever either side wrote and whichever point was chosen, only the union of the maps goes back, both
sides end alike, and nothing is lost that the new primary wrote."""

import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secondsite.agent.lab.engine import MapNotTrusted, Stopped, TargetStore
from support.engine_pair import BLOCK
from support.engine_roles import Site, Sites, blocks_of

SIZES = {"a": 9 * BLOCK, "b": 2 * BLOCK + 77}


@dataclass(frozen=True)
class Write:
    disk: str
    start: float
    length: int
    fill: int

    def at(self, site: Site) -> set[tuple[str, int]]:
        """Do it; the blocks that it touched."""
        offset = int(self.start * (SIZES[self.disk] - 1))
        data = bytes([self.fill]) * min(self.length, SIZES[self.disk] - offset)
        site.write(self.disk, offset, data)
        return {(self.disk, block) for block in blocks_of(offset, len(data))}


WRITE = st.builds(
    Write,
    disk=st.sampled_from(sorted(SIZES)),
    start=st.floats(0, 1),
    length=st.integers(1, 2 * BLOCK),
    fill=st.integers(0, 255),
)
WRITES = st.lists(WRITE, max_size=4)


@dataclass(frozen=True)
class Break:
    """`cycles`: the writes before each; `alone`: the old primary's after the last one, `half_sent` some are frozen."""

    cycles: list[list[Write]]
    alone: list[Write]
    half_sent: bool
    merged: int
    chosen: int
    on_clone: list[Write]
    on_disks: list[Write]
    trusted: bool
    discarded: bool


BREAK = st.builds(
    Break,
    cycles=st.lists(WRITES, min_size=1, max_size=4),
    alone=WRITES,
    half_sent=st.booleans(),
    merged=st.integers(0, 3),
    chosen=st.integers(0, 9),
    on_clone=WRITES,
    on_disks=WRITES,
    trusted=st.booleans(),
    discarded=st.booleans(),
)


def written(site: Site, writes: list[Write]) -> set[tuple[str, int]]:
    return set().union(*(write.at(site) for write in writes))


def carried(store: TargetStore, point: str) -> set[tuple[str, int]]:
    """The blocks that a cycle brought."""
    return {
        (name, int(block)) for name, disk in store.core.replicas.items() for block in disk.layer(point).index["block"]
    }


@settings(max_examples=25, deadline=None)
@given(BREAK)
def test_whatever_both_wrote_the_new_primary_wins_with_the_least_of_traffic(plan: Break) -> None:
    with tempfile.TemporaryDirectory() as folder, Sites(Path(folder), SIZES) as sites:
        a, b = sites.a, sites.b
        brought = []
        for writes in plan.cycles:
            blocks = written(a, writes)
            brought.append((a.cycle(b).cycle, blocks))
        lost = written(a, plan.alone)
        if plan.half_sent:
            break_off(a, b)
            lost |= written(a, plan.alone[:1])
        point, newer = choose(b, plan, brought)
        image = b.point_image(point)
        b.fail_over(point, 2)
        assert b.image() == image
        kept = written(b, plan.on_clone)
        image = b.image()
        b.promote()
        assert a.source is not None
        assert b.image() == image
        kept |= written(b, plan.on_disks)
        if not plan.trusted:
            a.source.distrust()
        if plan.discarded:
            b.demote(3)
            a.source.begin_term(3)
            replicate(a, b, plan, lost | newer | kept)
        else:
            a.demote(2)
            replicate(b, a, plan, lost | newer | kept)
            swap_back(a, b)


def break_off(a: Site, b: Site) -> None:
    """A cycle is frozen and perhaps sent, but never committed."""
    stop = threading.Event()
    stop.set()
    assert a.source is not None
    with pytest.raises(Stopped):
        a.source.run_cycle(b.client, stop=stop)


def choose(b: Site, plan: Break, brought: list[tuple[str, set[tuple[str, int]]]]) -> tuple[str, set[tuple[str, int]]]:
    """A point that is still there, and the blocks of all that came after it."""
    assert b.store is not None
    for point, _ in brought[:-1][: plan.merged]:
        b.store.merge(point)
    left = [point.id for point in b.store.points()]
    chosen = left[plan.chosen % len(left)]
    place = [point for point, _ in brought].index(chosen)
    return chosen, set().union(*(blocks for _, blocks in brought[place + 1 :]))


def replicate(primary: Site, replica: Site, plan: Break, union: set[tuple[str, int]]) -> None:
    """The first cycle after the break, to whoever is the replica now."""
    image = primary.image()
    assert primary.source is not None
    if not plan.trusted:
        with pytest.raises(MapNotTrusted):
            primary.cycle(replica)
        primary.source.compare(replica.client)
    result = primary.cycle(replica)
    assert replica.store is not None
    if plan.trusted:
        assert carried(replica.store, result.cycle) == union
    else:
        assert carried(replica.store, result.cycle) <= union
    assert result.wire_bytes <= len(union) * (BLOCK + 40) + 1000
    assert primary.image() == image == replica.point_image(result.cycle)


def swap_back(a: Site, b: Site) -> None:
    """Planned: quiesced and committed, nothing is left to send."""
    image = b.image()
    head = b.cycle(a).cycle
    a.fail_over(head, 3)
    b.demote(3)
    a.promote()
    assert a.image() == image
    assert b.store is not None
    assert not b.store.status().stale
    assert a.cycle(b).blocks == 0
    assert b.point_image(b.store.points()[-1].id) == image
