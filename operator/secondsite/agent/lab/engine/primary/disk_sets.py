"""Other disks of a VM under a running replication: what is tracked changes while no source is open."""

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from secondsite.agent.lab.engine.blocks import block_count
from secondsite.agent.lab.engine.durable import check_id, lock_directory
from secondsite.agent.lab.engine.errors import EngineError
from secondsite.agent.lab.engine.primary.bookmark import bookmark_path
from secondsite.agent.lab.engine.primary.maps import Maps
from secondsite.agent.lab.engine.primary.state import load_state, save_state, state_path
from secondsite.agent.lab.engine.primary.tracker import DIFFERS

_KINDS = ("current", "frozen", "digests", "saved")


def change_disks(root: Path, sizes: Mapping[str, int]) -> None:
    """Track these disks from now on, names and bytes; guests stand still until a source is open again.

    All of a disk that is new goes with the next cycle, and a disk that is gone stays in older recovery points. May be
    repeated after a kill; where nothing is tracked there is nothing to do. EngineError where a disk has another size
    than before, or none is left.
    """
    path = state_path(root)
    if not path.exists():
        return
    lock = lock_directory(root)
    try:
        state = load_state(path)
        if state is None or state.disks == dict(sizes):
            return
        _expect_possible(root, state.disks, sizes)
        for name in sizes.keys() - state.disks.keys():
            _begin(root, check_id("disk", name), sizes[name])
        # From here on it is so. What a cycle that was open had in its maps is owed by the next freeze.
        given_up = state.open.cycle if state.open else state.given_up
        save_state(
            path, msgspec.structs.replace(state, disks=dict(sizes), open=None, given_up=given_up, disks_changed=True)
        )
        for name in state.disks.keys() - sizes.keys():
            _forget(root, name)
    finally:
        os.close(lock)


def _expect_possible(root: Path, before: Mapping[str, int], sizes: Mapping[str, int]) -> None:
    resized = [name for name in sizes if before.get(name, sizes[name]) != sizes[name]]
    if resized or not sizes:
        raise EngineError(f"{root} tracks disks {dict(before)}, not {dict(sizes)}: the sizes of disks cannot change")


def _begin(root: Path, name: str, size: int) -> None:
    """Maps in which all differs from the replica: it may hold an older disk of that name, where ours has a hole."""
    _forget(root, name)
    maps = Maps(root, name, block_count(size))
    maps.current[:] = DIFFERS
    maps.sync()
    maps.close()


def _forget(root: Path, name: str) -> None:
    for kind in _KINDS:
        (root / f"{name}.{kind}").unlink(missing_ok=True)
    bookmark_path(root, name).unlink(missing_ok=True)
