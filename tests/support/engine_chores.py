"""What a target does beside receiving: retention, thin clones whose guests write, scrubs, copies."""

import random
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from secondsite.agent.lab.engine import Clone, PointInUse, TargetStore, TokenBucket, UnknownPoint
from support.engine_truth import SECTOR, TruthfulGuest, shared, truth_of, wrong_blocks

_MOST_CLONES = 3


class ClonedDisk:
    """One disk of a clone, as a guest sees it."""

    def __init__(self, clone: Clone, name: str) -> None:
        self.lock = threading.RLock()
        self._clone = clone
        self._name = name

    @property
    def size(self) -> int:
        return self._clone.disks[self._name]

    def write(self, offset: int, data: bytes) -> None:
        self._clone.write(self._name, offset, data)


class ClonedGuest:
    """A guest that goes on where the frozen one stood, on a clone; its own version tables lie beside the store."""

    def __init__(self, store: TargetStore, clone_id: str, folder: Path) -> None:
        self.clone = store.open_clone(clone_id)
        self.folder = folder
        disks = {name: ClonedDisk(self.clone, name) for name in self.clone.disks}
        self._guest = TruthfulGuest(folder, disks, seed=time.time_ns())
        self._guest.repair()
        self.write_once = self._guest.write_once

    def wrong_blocks(self) -> int:
        tables = [self._guest.versions[name] for name in sorted(self.clone.disks)]
        return wrong_blocks(self.clone.read, self.clone.disks, tables)


def clone_folder(config: dict[str, Any], clone_id: str) -> Path:
    return Path(f"{config['target']}-clones", clone_id)


class Chores:
    """One thing at a time, chosen at random; clones of an earlier life are taken up again."""

    def __init__(self, store: TargetStore, config: dict[str, Any], note: Callable[..., None]) -> None:
        self._store = store
        self._config = config
        self._note = note
        self._random = random.Random(time.time_ns())
        self._guests: dict[str, ClonedGuest] = {}
        for info in store.clones():
            self._guests[info.clone_id] = ClonedGuest(store, info.clone_id, clone_folder(config, info.clone_id))

    def do_one(self) -> None:
        points = [point.id for point in self._store.points()]
        for guest in self._guests.values():
            guest.write_once(longest=9)
        if points:
            chores = [self._retain, self._retain, self._clone, self._drop, self._scrub, self._check_clone]
            try:
                self._random.choice(chores)(points)
            except (UnknownPoint, PointInUse):
                # Merged away, or taken into use, since the list was made.
                return

    def _retain(self, points: list[str]) -> None:
        newest = self._store.points()[-1].freeze_time
        merged = self._store.apply_retention(newest, self._config["keep_every"], self._config["retention"])
        if merged:
            self._note(event="merged", count=len(merged))

    def _clone(self, points: list[str]) -> None:
        if len(self._guests) >= _MOST_CLONES:
            return
        point, clone_id = self._random.choice(points), f"clone-{time.time_ns()}"
        folder = clone_folder(self._config, clone_id)
        folder.mkdir(parents=True)
        for (name, size), versions in zip(
            sorted(self._store.disks.items()), truth_of(Path(self._config["source"]), point), strict=True
        ):
            shared(folder / f"{name}.versions", size // SECTOR)[:] = versions
        self._store.clone(point, clone_id).close()
        self._guests[clone_id] = ClonedGuest(self._store, clone_id, folder)
        self._note(event="cloned")

    def _drop(self, points: list[str]) -> None:
        if len(self._guests) == _MOST_CLONES:
            clone_id = self._random.choice(sorted(self._guests))
            self._guests.pop(clone_id).clone.close()
            self._store.drop_clone(clone_id)
            shutil.rmtree(clone_folder(self._config, clone_id))

    def _scrub(self, points: list[str]) -> None:
        damaged = len(self._store.scrub(self._random.choice(points)))
        result = self._store.scrub_files(threading.Event(), TokenBucket())
        self._note(event="scrubbed", wrong=damaged + result.damaged + result.mended)

    def _check_clone(self, points: list[str]) -> None:
        if self._guests:
            guest = self._guests[self._random.choice(sorted(self._guests))]
            self._note(event="clone-compared", wrong=guest.wrong_blocks())
