"""Roles change: planned, unplanned, back again; and what goes over the wire for it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from secondsite.agent.lab.engine import (
    CycleKind,
    HeadConflict,
    LinkError,
    MapNotTrusted,
    StaleGeneration,
    prepare_promotion,
    promote,
)
from secondsite.agent.lab.engine.port.client import PeerSession
from support.engine_pair import BLOCK, pattern
from support.engine_roles import Sites

SIZES = {"data": 40 * BLOCK, "system": 5 * BLOCK + 777}


@pytest.fixture
def sites(tmp_path: Path) -> Iterator[Sites]:
    with Sites(tmp_path, SIZES) as sites:
        for block in range(0, 40, 2):
            sites.a.write("data", block * BLOCK, pattern(block))
        sites.a.write("system", 4 * BLOCK, pattern(99, BLOCK + 777))
        yield sites


def test_a_planned_swap_copies_nothing_over_the_wire(sites: Sites) -> None:
    a, b = sites.a, sites.b
    a.cycle(b)
    a.write("data", 3 * BLOCK, b"last words")
    head = a.cycle(b).cycle
    before = a.image()
    b.fail_over(head, 2)
    a.demote(2)
    assert a.store is not None
    assert not a.store.status().stale
    assert [point.id for point in a.store.points()] == [head]
    assert a.point_image(head) == before
    b.promote()
    assert b.image() == before
    assert b.source is not None
    assert b.source.generation == 2
    result = b.cycle(a)
    assert (result.kind, result.blocks, result.wire_bytes) == (CycleKind.Delta, 0, 0)
    b.write("system", 5 * BLOCK + 700, b"written at b")
    assert b.cycle(a).blocks == 1
    assert a.point_image(a.store.points()[-1].id) == b.image()
    assert [point.generation for point in a.store.points()] == [2, 2, 2]


def test_two_swaps_restore_the_first_direction(sites: Sites) -> None:
    a, b = sites.a, sites.b
    head = a.cycle(b).cycle
    inode = (a.folder / "data.raw").stat().st_ino
    b.fail_over(head, 2)
    b.write("data", 9 * BLOCK, b"at b")
    a.demote(2)
    b.promote()
    back = b.cycle(a).cycle
    a.fail_over(back, 3)
    a.write("data", 10 * BLOCK, b"at a again")
    b.demote(3)
    a.promote()
    result = a.cycle(b)
    assert (result.kind, result.blocks) == (CycleKind.Delta, 1)
    assert a.source is not None
    assert b.store is not None
    assert a.source.generation == 3
    assert b.point_image(b.store.points()[-1].id) == a.image()
    assert a.image()["data"][9 * BLOCK :].startswith(b"at b")
    assert a.image()["data"][10 * BLOCK :].startswith(b"at a again")
    # The same file all the way: nothing was copied.
    assert (a.folder / "data.raw").stat().st_ino == inode


def test_after_an_unplanned_failover_the_union_of_both_maps_goes_back(sites: Sites) -> None:
    a, b = sites.a, sites.b
    head = a.cycle(b).cycle
    a.write("data", 7 * BLOCK, b"written at a alone")
    b.fail_over(head, 2)
    b.write("data", 12 * BLOCK - 3, b"two blocks at b")
    b.promote()
    a.demote(2)
    assert a.store is not None
    assert a.store.status().stale
    assert a.store.points() == []
    assert sorted(path.name for path in (a.store_root / "stale").iterdir()) == ["data.map", "system.map"]
    result = b.cycle(a)
    assert (result.kind, result.blocks) == (CycleKind.Delta, 3)
    assert not a.store.status().stale
    assert not (a.store_root / "stale").exists()
    assert [point.id for point in a.store.points()] == [result.cycle]
    assert a.point_image(result.cycle) == b.image()


def test_an_older_point_costs_the_blocks_of_the_newer_layers(sites: Sites) -> None:
    a, b = sites.a, sites.b
    a.cycle(b)
    chosen, image = a.cycle(b).cycle, a.image()
    a.write("data", 20 * BLOCK, b"in the point that is given up")
    a.cycle(b)
    a.write("system", 0, b"and in the next")
    a.cycle(b)
    b.fail_over(chosen, 2)
    assert b.image() == image
    b.promote()
    assert b.image() == image
    assert b.changed() == {"data": {20}, "system": {0}}
    a.demote(2)
    result = b.cycle(a)
    assert result.blocks == 2
    assert a.point_image(result.cycle) == image


def test_a_primary_that_did_not_hear_of_its_last_commit_comes_back(
    sites: Sites, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = sites.a, sites.b
    first = a.cycle(b).cycle
    a.write("data", 5 * BLOCK, b"committed, but the answer was lost")
    assert a.source is not None
    with monkeypatch.context() as patched:
        patched.setattr(a.source, "_committed", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            a.cycle(b)
    assert b.store is not None
    head = b.store.points()[-1].id
    assert a.source.head == first != head
    # Retention may even have merged what it still takes for the newest.
    b.store.merge(first)
    b.fail_over(head, 2)
    b.write("data", 6 * BLOCK, b"b")
    b.promote()
    a.demote(2)
    result = b.cycle(a)
    assert result.blocks == 2
    assert a.point_image(result.cycle) == b.image()


def test_the_older_points_are_merged_while_the_guest_writes(sites: Sites) -> None:
    a, b = sites.a, sites.b
    for block in range(3):
        a.write("data", block * BLOCK, pattern(50 + block))
        head = a.cycle(b).cycle
    b.fail_over(head, 2)
    b.write("data", 2 * BLOCK + 9, b"before")
    assert b.store is not None
    prepare_promotion(b.store)
    b.write("data", 1 * BLOCK + 9, b"after")
    assert [point.id for point in b.store.points()] == [head]
    expected = b.image()
    assert b.clone is not None
    b.clone.sync()
    b.clone.close()
    promote(b.store, b.source_root, b.paths, prepared=True)
    b.clone = b.store = None
    # The host may have been restarted since: nobody wrote.
    assert b.open_source(boot_id="another life of the host").map_trusted
    assert b.image() == expected


def test_a_new_primary_can_begin_with_an_empty_replica(sites: Sites) -> None:
    a, b = sites.a, sites.b
    b.fail_over(a.cycle(b).cycle, 2)
    b.promote()
    a.open_store()
    result = b.cycle(a)
    assert result.kind is CycleKind.Initial
    assert a.point_image(result.cycle) == b.image()


def test_a_head_outside_the_lineage_needs_a_comparison(sites: Sites) -> None:
    a, b = sites.a, sites.b
    a.cycle(b)
    head = a.cycle(b).cycle
    b.fail_over(head, 2)
    b.promote()
    a.demote(2)
    assert b.source is not None
    b.source._change(lineage=("a point of another chain",))
    with pytest.raises(HeadConflict):
        b.cycle(a)
    b.source.compare(a.client)
    assert b.cycle(a).blocks == 0


def test_a_former_primary_that_does_not_know_what_it_wrote_is_compared(sites: Sites) -> None:
    a, b = sites.a, sites.b
    head = a.cycle(b).cycle
    a.write("data", 7 * BLOCK, b"written at a alone")
    b.fail_over(head, 2)
    b.write("data", 8 * BLOCK, b"b")
    b.promote()
    assert a.source is not None
    a.source.distrust()
    a.demote(2)
    assert a.store is not None
    assert a.store.status().stale
    with pytest.raises(MapNotTrusted, match="compare"):
        b.cycle(a)
    assert b.source is not None
    assert b.source.compare(a.client).blocks_different == 2
    result = b.cycle(a)
    assert result.blocks == 2
    assert a.point_image(result.cycle) == b.image()


def test_a_stale_map_of_many_pages_arrives_as_it_was(tmp_path: Path) -> None:
    size = (65536 * 2 + 9) * BLOCK
    with Sites(tmp_path, {"huge": size}) as sites:
        a, b = sites.a, sites.b
        head = a.cycle(b).cycle
        wanted = {0, 65535, 65536, 65536 * 2, 65536 * 2 + 8}
        for block in wanted:
            a.write("huge", block * BLOCK, b"x")
        b.fail_over(head, 2)
        b.promote()
        a.demote(2)
        result = b.cycle(a)
        assert result.blocks == len(wanted)
        assert a.store is not None
        assert all(a.store.read_point(result.cycle, "huge", block * BLOCK, 1) == b"\0" for block in wanted)


def test_a_stale_map_that_came_in_part_commits_to_nothing(sites: Sites, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = sites.a, sites.b
    head = a.cycle(b).cycle
    a.write("data", 7 * BLOCK, b"written at a alone")
    a.write("system", 0, b"here, too")
    b.fail_over(head, 2)
    b.promote()
    a.demote(2)
    get = PeerSession.get_bytes

    def broken(peer: PeerSession, path: str) -> bytes:
        if "/system/" in path:
            raise LinkError("cut")
        return get(peer, path)

    with monkeypatch.context() as patched:
        patched.setattr(PeerSession, "get_bytes", broken)
        with pytest.raises(LinkError):
            b.cycle(a)
    assert b.source is not None
    assert (b.source.head, b.source.open_cycle) == (None, None)
    assert b.cycle(a).blocks == 2


def test_a_damaged_stale_map_is_not_believed(sites: Sites) -> None:
    a, b = sites.a, sites.b
    head = a.cycle(b).cycle
    a.write("data", 7 * BLOCK, b"written at a alone")
    b.fail_over(head, 2)
    b.promote()
    a.demote(2)
    path = a.store_root / "stale/data.map"
    content = bytearray(path.read_bytes())
    content[0] ^= 0x80
    path.write_bytes(content)
    with pytest.raises(MapNotTrusted, match="damaged"):
        b.cycle(a)


def test_a_discarded_failover_leads_back_to_the_first_primary(sites: Sites) -> None:
    """Committed at b, but a is the one to keep: it begins a new term, and b becomes its replica again."""
    a, b = sites.a, sites.b
    head = a.cycle(b).cycle
    a.write("data", 1 * BLOCK, b"at a")
    b.fail_over(head, 2)
    b.write("data", 2 * BLOCK, b"at b, given up")
    b.promote()
    with pytest.raises(StaleGeneration):
        a.cycle(b)
    b.demote(3)
    assert a.source is not None
    a.source.begin_term(3)
    result = a.cycle(b)
    assert result.blocks == 2
    assert b.point_image(result.cycle) == a.image()
    assert a.source.superseded_by is None
