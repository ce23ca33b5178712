"""Who is refused when roles change: a stale primary, half a change, and what would lose or merge anything."""

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest

from secondsite.agent.lab.engine import (
    EngineError,
    PointInUse,
    StaleGeneration,
    UnknownPoint,
    cancel_failover,
    fail_over,
    finish_demotion,
    finish_promotion,
    forget_promotion,
    prepare_promotion,
    promote,
)
from secondsite.agent.lab.engine.errors import NoSpace
from secondsite.agent.lab.engine.replica.space import Space
from secondsite.agent.lab.engine.roles import demotion, flattening
from secondsite.wire.peer import CycleCommit, CycleCommitted
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


def test_a_failover_is_one_and_survives_a_restart(sites: Sites) -> None:
    a, b = sites.a, sites.b
    head = a.cycle(b).cycle
    assert b.store is not None
    with pytest.raises(EngineError, match="generation 1 is not new"):
        fail_over(b.store, head, "clone", 1)
    with pytest.raises(UnknownPoint):
        fail_over(b.store, "nothing", "clone", 2)
    assert b.store.clones() == []
    b.fail_over(head, 2)
    b.write("data", 0, b"kept")
    b.crash()
    b.recover()
    assert b.store is not None
    assert b.store.promoted is not None
    assert b.store.promoted.generation == 2
    with pytest.raises(EngineError, match="failed over already"):
        fail_over(b.store, head, "another", 3)
    with pytest.raises(PointInUse, match="cancel the failover"):
        b.store.drop_clone("failover-2")
    assert b.fail_over(head, 2).read("data", 0, 4) == b"kept"


def test_a_cancelled_failover_lets_the_former_primary_go_on(sites: Sites) -> None:
    a, b = sites.a, sites.b
    head = a.cycle(b).cycle
    a.write("data", 4 * BLOCK, b"meanwhile")
    clone = b.fail_over(head, 2)
    with pytest.raises(StaleGeneration):
        a.cycle(b)
    assert b.store is not None
    with pytest.raises(EngineError, match="not another"):
        cancel_failover(b.store, "another")
    with pytest.raises(PointInUse, match="is open"):
        cancel_failover(b.store, clone.clone_id)
    clone.close()
    cancel_failover(b.store, clone.clone_id)
    cancel_failover(b.store, clone.clone_id)
    assert (b.store.promoted, b.store.clones()) == (None, [])
    result = a.cycle(b)
    assert result.blocks == 1
    assert b.point_image(result.cycle) == a.image()
    assert a.source is not None
    assert a.source.superseded_by is None


def test_a_stale_primary_is_refused_and_knows_it(sites: Sites) -> None:
    a, b = sites.a, sites.b
    head = a.cycle(b).cycle
    a.write("data", 0, b"unaware")
    b.fail_over(head, 2)
    with pytest.raises(StaleGeneration, match=r"generation 2.*in 1") as refused:
        a.cycle(b)
    assert (refused.value.status, refused.value.code, refused.value.generation) == (409, "StaleGeneration", 2)
    b.promote()
    # The store is none any more, and the answer is the same.
    with pytest.raises(StaleGeneration, match=r"in generation 1 here.*since generation 2") as refused:
        a.cycle(b)
    assert refused.value.generation == 2
    a.crash()
    a.recover()
    assert a.source is not None
    assert a.source.superseded_by == 2
    # It froze nothing, and gave nothing away.
    assert a.source.open_cycle is None
    assert a.changed()["data"] == {0}


def test_a_newer_term_does_not_get_past_a_failover(sites: Sites) -> None:
    """Split brain: both sides were told to be the primary. Neither takes anything of the other."""
    a, b = sites.a, sites.b
    b.fail_over(a.cycle(b).cycle, 2)
    assert a.source is not None
    a.source.begin_term(3)
    with pytest.raises(StaleGeneration, match="failed over to this side in generation 2"):
        a.cycle(b)
    assert a.source.superseded_by == 2
    # Not even begun: the term here stays what it is.
    assert b.store is not None
    assert (b.store.status().open, b.store.status().generation) == (None, 2)
    with pytest.raises(EngineError, match="older than ours"):
        a.source.begin_term(2)


def test_frames_and_commit_of_a_cycle_under_way_are_refused_after_a_failover(
    sites: Sites, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = sites.a, sites.b
    head = a.cycle(b).cycle
    a.write("data", 0, b"under way")
    assert b.store is not None
    receiver = b.store.receiver
    commit = receiver.commit

    def fail_over_first(cycle: str, message: CycleCommit) -> CycleCommitted:
        b.fail_over(head, 2)
        return commit(cycle, message)

    monkeypatch.setattr(receiver, "commit", fail_over_first)
    with pytest.raises(StaleGeneration, match="generation 1 is taken"):
        a.cycle(b)
    assert [point.id for point in b.store.points()] == [head]
    # Cancelled, the cycle goes on where it was.
    assert b.clone is not None
    b.clone.close()
    b.clone = None
    cancel_failover(b.store, "failover-2")
    monkeypatch.setattr(receiver, "commit", commit)
    assert a.cycle(b).resumed


def test_damage_is_not_promoted_but_may_be_overwritten(sites: Sites) -> None:
    a, b = sites.a, sites.b
    head = a.cycle(b).cycle
    assert b.store is not None
    layer = next((b.store_root / "disks/data/layers").iterdir())
    content = bytearray(layer.read_bytes())
    # The first block of the only frame, which is block 0.
    content[content.index(pattern(0)[:64])] ^= 1
    layer.write_bytes(content)
    b.fail_over(head, 2)
    with pytest.raises(EngineError, match="block 0 does not match"):
        b.promote()
    b.fail_over(head, 2)
    b.write("data", 0, pattern(5))
    b.promote()
    assert b.image()["data"].startswith(pattern(5))


def test_a_promotion_is_refused_before_it_harms(sites: Sites, tmp_path: Path) -> None:
    a, b = sites.a, sites.b
    head = a.cycle(b).cycle
    assert b.store is not None
    with pytest.raises(EngineError, match="not failed over"):
        prepare_promotion(b.store)
    clone = b.fail_over(head, 2)
    with pytest.raises(PointInUse, match="is open"):
        promote(b.store, b.source_root, b.paths)
    test = b.store.clone(head, "a-test")
    with pytest.raises(PointInUse, match="a-test"):
        promote(b.store, b.source_root, b.paths)
    test.close()
    b.store.drop_clone("a-test")
    clone.close()
    with pytest.raises(EngineError, match="paths came for"):
        promote(b.store, b.source_root, {"data": b.paths["data"]})
    b.paths["data"].touch()
    with pytest.raises(EngineError, match="replaces nothing"):
        promote(b.store, b.source_root, b.paths)
    b.paths["data"].unlink()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Space, "free", property(lambda _: 20 * BLOCK))
        with pytest.raises(NoSpace, match="go on in its clone"):
            promote(b.store, b.source_root, b.paths)
    if Path("/dev/shm").stat().st_dev != tmp_path.stat().st_dev:
        with pytest.raises(EngineError, match="another file system"):
            promote(b.store, b.source_root, {name: Path("/dev/shm") / name for name in SIZES})
    # The store is as it was.
    assert b.point_image(head) == a.image()
    b.promote()
    assert b.image() == a.image()


def test_a_demotion_is_refused_where_nothing_is_in_common(sites: Sites) -> None:
    a, b = sites.a, sites.b
    assert a.source is not None
    with pytest.raises(EngineError, match="generation 1 is not new"):
        a.demote(1)
    with pytest.raises(EngineError, match="never replicated"):
        a.demote(2)
    # Not even closed: what the guest writes is tracked.
    a.write("data", 2 * BLOCK, b"tracked")
    head = a.cycle(b).cycle
    a.store_root.mkdir()
    for name, refusal in (("catalog.log", "holds a replica already"), ("adopting.json", "was interrupted here")):
        (a.store_root / name).touch()
        with pytest.raises(EngineError, match=refusal):
            a.demote(2)
        (a.store_root / name).unlink()
    # It is a primary as before.
    a.write("data", 0, b"still a primary")
    assert a.cycle(b).blocks == 1
    assert a.source.head != head


def test_a_promoted_store_opens_only_after_it_was_forgotten(sites: Sites) -> None:
    a, b = sites.a, sites.b
    head = a.cycle(b).cycle
    b.fail_over(head, 2)
    b.promote()
    with pytest.raises(EngineError, match="became the primary in generation 2"):
        b.open_store()
    forget_promotion(b.store_root)
    forget_promotion(b.store_root)
    assert b.open_store().points() == []


def test_half_a_demotion_is_neither_primary_nor_replica(sites: Sites, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = sites.a, sites.b
    a.cycle(b)
    with monkeypatch.context() as patched:
        patched.setattr(demotion, "adopt", raise_enospc)
        with pytest.raises(OSError, match="full"):
            a.demote(2)
    a.crash()
    with pytest.raises(EngineError, match="demotion of this primary was interrupted"):
        a.open_source()
    a.crash()
    a.recover()
    assert a.store is not None
    assert len(a.store.points()) == 1
    with pytest.raises(EngineError, match="no demotion was begun"):
        finish_demotion(a.source_root)


def test_half_a_promotion_is_neither_replica_nor_primary(sites: Sites, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = sites.a, sites.b
    b.fail_over(a.cycle(b).cycle, 2)
    with monkeypatch.context() as patched:
        patched.setattr(flattening, "copy_written", raise_enospc)
        with pytest.raises(OSError, match="full"):
            b.promote()
    b.crash()
    with pytest.raises(EngineError, match="promotion was interrupted"):
        b.open_store()
    with pytest.raises(EngineError, match="finish it first"):
        forget_promotion(b.store_root)
    # Whoever sends hears the same as afterwards.
    with pytest.raises(StaleGeneration, match="since generation 2"):
        a.cycle(b)
    b.recover()
    assert b.image() == a.image()
    forget_promotion(b.store_root)
    with pytest.raises(EngineError, match="no promotion was begun"):
        finish_promotion(b.store_root)


def raise_enospc(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, "full")
