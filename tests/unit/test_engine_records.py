"""Records of what is half done: a changed byte is found, and it is said what to do; nothing is done by it."""

import errno
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from secondsite.agent.lab.engine import EngineError, adopt, finish_demotion, promoted_away
from secondsite.agent.lab.engine.media import adopt as adopting
from secondsite.agent.lab.engine.record import load_record, save_record
from secondsite.agent.lab.engine.roles import demotion, flattening
from support.engine_pair import BLOCK, START, pattern
from support.engine_roles import Sites


class Number(msgspec.Struct, frozen=True):
    value: int


@pytest.fixture
def sites(tmp_path: Path) -> Iterator[Sites]:
    with Sites(tmp_path, {"data": 4 * BLOCK}) as sites:
        sites.a.write("data", 0, pattern(1))
        sites.a.cycle(sites.b)
        yield sites


def full(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, "full")


def expect_every_byte_to_count(path: Path, read: Callable[[], object], remedy: str) -> None:
    whole = path.read_bytes()
    for offset in range(len(whole)):
        path.write_bytes(whole[:offset] + bytes([whole[offset] ^ 1 + offset % 255]) + whole[offset + 1 :])
        with pytest.raises(EngineError, match=remedy) as refused:
            read()
        assert str(path) in str(refused.value)
    for length in (0, 9, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(EngineError, match=remedy):
            read()
    path.write_bytes(whole)


def test_a_record_is_what_was_saved(tmp_path: Path) -> None:
    path = tmp_path / "number.json"
    assert load_record(path, Number, "") is None
    save_record(path, Number(7))
    assert load_record(path, Number, "") == Number(7)
    expect_every_byte_to_count(path, lambda: load_record(path, Number, "count again"), "count again")


def test_a_damaged_demotion(sites: Sites, monkeypatch: pytest.MonkeyPatch) -> None:
    a = sites.a
    with monkeypatch.context() as patched:
        patched.setattr(demotion, "adopt", full)
        with pytest.raises(OSError, match="full"):
            a.demote(2)
    a.crash()
    record = a.source_root / "demotion.json"
    expect_every_byte_to_count(record, lambda: finish_demotion(a.source_root), "demote again")
    a.recover()
    assert a.store is not None
    assert len(a.store.points()) == 1


def test_a_damaged_promotion(sites: Sites, monkeypatch: pytest.MonkeyPatch) -> None:
    b = sites.b
    assert b.store is not None
    assert b.store.head is not None
    b.fail_over(b.store.head, 2)
    with monkeypatch.context() as patched:
        patched.setattr(flattening, "copy_written", full)
        with pytest.raises(OSError, match="full"):
            b.promote()
    b.crash()
    record = b.store_root / "promotion.json"
    expect_every_byte_to_count(record, lambda: promoted_away(b.store_root), "before anything here is removed")
    b.recover()
    assert b.image() == sites.a.image()


def test_a_damaged_adoption(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image, root = tmp_path / "a.raw", tmp_path / "store"
    image.write_bytes(pattern(1))

    def repeat() -> None:
        adopt(root, "vm", {"a": image}, point="p", generation=1, freeze_time=START, stale=False, move=True)

    with monkeypatch.context() as patched:
        patched.setattr(adopting, "make_base", full)
        with pytest.raises(OSError, match="full"):
            repeat()
    expect_every_byte_to_count(root / "adopting.json", repeat, "adopt them again")
    assert (root / "disks/a/base.raw").read_bytes() == pattern(1)
    repeat()
    assert not (root / "adopting.json").exists()
