"""The engine with one sync left out at a time: what only a power cut can tell from the real one."""

import os
from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple

import pytest

from secondsite.agent.lab.engine import durable
from secondsite.agent.lab.engine.replica import base, catalogue, clone, layer, part


class Forgotten(NamedTuple):
    module: ModuleType
    call: str
    words: str

    def sabotage(self, patched: pytest.MonkeyPatch) -> None:
        patched.setattr(self.module, "os", _Without(self.call))


class _Without:
    """The `os` of a module whose author forgot a call."""

    def __init__(self, call: str) -> None:
        self._call = call

    def __getattr__(self, name: str) -> Any:
        return _nothing if name == self._call else getattr(os, name)


def _nothing(_: int) -> None:
    return


Sabotage = Callable[[pytest.MonkeyPatch], None]

FORGOTTEN = {
    "frames-not-synced": Forgotten(part, "fdatasync", "target: Committed is said before the frames are durable"),
    "catalogue-not-synced": Forgotten(catalogue, "fdatasync", "target: Committed is said before the line is durable"),
    "names-not-synced": Forgotten(durable, "fsync", "both: renames and creations are not waited for"),
    "base-not-synced": Forgotten(base, "fdatasync", "target: a layer is dropped before the base has it"),
    "merge-not-synced": Forgotten(layer, "fdatasync", "target: a layer is replaced by one that is not durable"),
    "state-not-synced": Forgotten(durable, "fdatasync", "source: the state is renamed before it is durable"),
    "clone-not-synced": Forgotten(clone, "fdatasync", "target: a clone's map vouches for blocks not yet there"),
}
