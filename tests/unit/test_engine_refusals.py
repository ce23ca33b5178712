"""What is refused leaves everything as it was."""

import threading
from pathlib import Path

import pytest

from secondsite.agent.lab.engine import PeerRefused, PointInUse, Stopped
from support.engine_pair import BLOCK, Pair
from support.engine_soak import wait_until

SIZES = {"a": 6 * BLOCK, "b": 2 * BLOCK + 77}


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
