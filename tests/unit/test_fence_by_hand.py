"""A site that obeys a cluster which is gone: what the refusal tells a person to do lets the new cluster command it."""

import re
import sqlite3
from pathlib import Path

import pytest

from secondsite.agent.fences import Fences, load
from secondsite.agent.store import Store
from secondsite.wire.agent import Fence
from secondsite.wire.problems import Code, Refusal

OLD = Fence(control_plane="old", term=7, holder="a")
NEW = Fence(control_plane="new", term=1, holder="b")


async def test_the_remedy_for_a_foreign_control_plane_works(tmp_path: Path) -> None:
    path = tmp_path / "agent.db"
    store = Store(path)
    fences = Fences(store, await store.run(load))
    await fences.admit(OLD)
    with pytest.raises(Refusal) as refused:
        await fences.admit(NEW)
    await store.close()
    assert refused.value.code is Code.FOREIGN_CONTROL_PLANE
    assert "takeOver" not in refused.value.remedy, "that request is not built"
    _carry_out(refused.value.remedy, path)
    store = Store(path)
    fences = Fences(store, await store.run(load))
    await fences.admit(NEW)
    assert fences.highest == NEW
    await store.close()


def _carry_out(remedy: str, path: Path) -> None:
    command = re.search(r'sqlite3 agent\.db "([^"]+)"', remedy)
    assert command is not None, remedy
    connection = sqlite3.connect(path)
    with connection:
        connection.execute(command[1])
    connection.close()
