"""The power fails at a random instant, and what was not yet durable is dropped, reordered or torn: nothing that was
acknowledged is lost, and no wrong byte is served. With any of the syncs left out, something is."""

import contextlib
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from secondsite.agent.lab.engine import EngineError, PeerRefused, TargetStore
from support.engine_forgotten_syncs import FORGOTTEN, Sabotage
from support.engine_pair import BLOCK, Pair, pattern, quick_folder
from support.engine_power import Recorder
from support.engine_power_check import Broken, check_cuts
from support.engine_power_life import Life
from support.engine_power_states import PowerDisk

CUTS = 80


@pytest.fixture
def quick(tmp_path: Path) -> Iterator[Path]:
    with quick_folder(tmp_path) as folder:
        yield folder


def live(folder: Path, seed: int, sabotage: Sabotage | None = None) -> Life:
    world = folder / "world"
    world.mkdir()
    return Life(world, seed, sabotage=sabotage)


@pytest.mark.parametrize("seed", range(4))
def test_a_power_cut_loses_and_damages_nothing(quick: Path, seed: int) -> None:
    life = live(quick, seed)
    assert len(life.truth) > 4, "a life without cycles proves nothing"
    assert check_cuts(life, quick, CUTS, random.Random(seed)) == CUTS


@pytest.mark.parametrize("name", FORGOTTEN)
def test_a_sync_that_is_left_out_is_noticed(quick: Path, name: str) -> None:
    # Most are caught in the first life; which cuts meet the rarest of them is chance.
    for seed in range(16):
        folder = quick / str(seed)
        folder.mkdir()
        try:
            check_cuts(live(folder, seed, FORGOTTEN[name].sabotage), folder, CUTS, random.Random(seed))
        except (Broken, EngineError):
            return
    pytest.fail(f"{name} went unnoticed")


def test_the_recorder_sees_every_change(tmp_path: Path) -> None:
    """What it wrote down amounts to the files that are there."""
    world = tmp_path / "world"
    life = live(tmp_path, 3)
    disk = PowerDisk(life.recorder.folders)
    for entry in life.recorder.log:
        disk.take(entry)
    disk.write(tmp_path / "again", random.Random(0), lambda _: False)
    assert files(tmp_path / "again") == files(world)


def files(root: Path) -> dict[str, bytes | None]:
    paths = sorted(path for path in root.rglob("*") if path.name != "lock")
    return {str(path.relative_to(root)): None if path.is_dir() else path.read_bytes() for path in paths}


@pytest.mark.parametrize("changes", range(12))
def test_the_folders_of_a_store_are_as_durable_as_what_is_in_them(tmp_path: Path, changes: int) -> None:
    """Also when the process that made them died in between, and the next one found them."""
    world = tmp_path / "world"
    world.mkdir()
    recorder = Recorder(world)
    with recorder.recording(), Pair(tmp_path / "elsewhere", {"a": BLOCK}) as pair:
        pair.disks["a"].write(0, pattern(1))
        pair.target.close()
        recorder.kill_after(changes, world)
        with contextlib.suppress(OSError, PeerRefused):
            pair.target = TargetStore(world / "replicas" / "vm", "vm")
            pair.cycle()
        pair.target.close()
        recorder.revive()
        pair.target = TargetStore(world / "replicas" / "vm", "vm")
        point = pair.cycle().cycle
    disk = PowerDisk(recorder.folders)
    for entry in recorder.log:
        disk.take(entry)
    # Nothing happens to have come that was not waited for.
    disk.write(tmp_path / "after", Never(), lambda _: True)
    store = TargetStore(tmp_path / "after" / "replicas" / "vm", "vm")
    assert store.read_point(point, "a", 0, BLOCK) == pattern(1)
    store.close()


class Never(random.Random):
    """The unkind end of every range."""

    def choice(self, options: Any) -> Any:
        return options[0]

    def random(self) -> float:
        return 0.99
