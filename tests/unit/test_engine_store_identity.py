"""A store knows whose replica it is: opened for another VM it serves nothing."""

from pathlib import Path

import pytest

from secondsite.agent.lab.engine import EngineError, StoreDamaged, TargetStore
from secondsite.agent.lab.engine.check import fsck
from secondsite.agent.lab.engine.media.adopt import adopt
from secondsite.agent.lab.engine.replica.catalogue import Founded, encode_line, split_lines
from secondsite.agent.lab.engine.replica.core import StoreCore
from support.engine_pair import BLOCK, START, Pair, pattern


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A store of VM `vm` with one point."""
    with Pair(tmp_path, {"data": 2 * BLOCK}) as pair:
        pair.disks["data"].write(0, pattern(1))
        pair.cycle()
    return tmp_path / "target"


def test_another_vm_gets_no_point_of_it_and_changes_nothing(root: Path) -> None:
    before = (root / "catalog.log").read_bytes()
    with pytest.raises(EngineError, match=r"holds the replica of VM vm, it was opened for VM other: give that VM"):
        TargetStore(root, "other")
    assert (root / "catalog.log").read_bytes() == before
    store = TargetStore(root, "vm")
    assert len(store.points()) == 1
    store.close()


def test_a_rewritten_catalogue_still_names_it(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("secondsite.agent.lab.engine.replica.core._SPARE_EVENTS", 0)
    store = TargetStore(root, "vm")
    store.close()
    assert len(split_lines((root / "catalog.log").read_bytes())) == 2
    with pytest.raises(EngineError, match="holds the replica of VM vm"):
        TargetStore(root, "other")


def test_an_adopted_store_is_named_at_once(tmp_path: Path) -> None:
    (tmp_path / "data.raw").write_bytes(pattern(1))

    def adopted(vm: str, point: str) -> None:
        disks = {"data": tmp_path / "data.raw"}
        adopt(tmp_path / "store", vm, disks, point=point, generation=1, freeze_time=START, stale=False, move=False)

    adopted("vm", "p")
    with pytest.raises(EngineError, match="holds the replica of VM vm"):
        TargetStore(tmp_path / "store", "other")
    with pytest.raises(EngineError, match="holds the replica of VM vm"):
        adopted("other", "p")


def test_a_newer_format_is_left_to_the_agent_that_wrote_it(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store/catalog.log").write_bytes(encode_line(Founded(vm="vm", version=2)))
    with pytest.raises(StoreDamaged, match="format 2"):
        TargetStore(tmp_path / "store", "vm")
    assert "format 2" in fsck.check(tmp_path / "store").findings[0].what


def test_repair_opens_a_store_as_the_vm_that_it_names(root: Path) -> None:
    (root / "disks/data/junk").touch()
    assert all(finding.repaired for finding in fsck.repair(root).findings)
    StoreCore(root, "vm").close()


def test_one_that_lost_its_name_is_said_to_and_gets_it_back_from_its_agent(root: Path) -> None:
    lines = split_lines((root / "catalog.log").read_bytes())
    (root / "catalog.log").write_bytes(b"".join(lines[1:]))
    for examine in (fsck.check, fsck.repair):
        assert "whose replica" in examine(root).findings[0].what
    TargetStore(root, "vm").close()
    assert fsck.check(root).clean
    with pytest.raises(EngineError, match="holds the replica of VM vm"):
        TargetStore(root, "other")
