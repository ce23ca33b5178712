"""What lies on the disks of one site, whether its agent lives or not: documents, guests' disks, maps, replicas."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec

from secondsite.agent.lab.engine.primary.state import SourceState
from secondsite.agent.lab.engine.roles.retired import PromotedAway
from secondsite.agent.lab.engine.types import RecoveryPoint
from secondsite.agent.lab.state import Document, Documents
from secondsite.wire.peer import CycleOpen
from support.lab_world.images import History, Image, Key, MemoryDisk
from support.lab_world.life import Life

if TYPE_CHECKING:
    from support.lab_world.roles import Demotion, Promotion

T = TypeVar("T", bound=Document)
Stored = Callable[[str, str, Document | None], None]


@dataclass
class TrackingFiles:
    """A folder of maps. `held` says how many of the frozen blocks the replica has acknowledged."""

    state: SourceState
    current: set[Key] = field(default_factory=set)
    frozen: Image = field(default_factory=dict)
    held: int = 0


@dataclass
class PointFiles:
    """One recovery point and all that it holds."""

    fact: RecoveryPoint
    image: Image
    sizes: dict[str, int]
    touched: set[Key] = field(default_factory=set)
    """The blocks of its layer."""
    parent: str | None = None


@dataclass
class StoreFiles:
    """A folder of a replica; `opened` is the cycle that is coming in, `received` what came of it."""

    vm_id: str
    points: list[PointFiles] = field(default_factory=list)
    generation: int = 0
    sizes: dict[str, int] = field(default_factory=dict)
    opened: CycleOpen | None = None
    received: Image = field(default_factory=dict)
    clones: dict[str, tuple[str, Image]] = field(default_factory=dict)
    promoted: tuple[str, str, int] | None = None
    """Point, clone and generation of the failover that stands."""
    stale: bool = False
    stale_keys: set[Key] | None = None
    """Where an adopted disk differs from its head's name; None: nobody knows."""


@dataclass
class SiteFiles:
    """One site's data folder, and what its host is."""

    site: str
    now: Callable[[], datetime]
    order: dict[str, list[str]] = field(default_factory=dict)
    disks: dict[Path, dict[str, MemoryDisk]] = field(default_factory=dict)
    histories: dict[str, History] = field(default_factory=dict)
    documents: dict[tuple[str, str], bytes] = field(default_factory=dict)
    tracking: dict[Path, TrackingFiles] = field(default_factory=dict)
    stores: dict[Path, StoreFiles] = field(default_factory=dict)
    retired: dict[Path, PromotedAway] = field(default_factory=dict)
    promotions: dict[Path, Promotion] = field(default_factory=dict)
    demotions: dict[Path, Demotion] = field(default_factory=dict)
    full: bool = False
    """The file system of the replicas has no room for another cycle."""
    boot: int = 0
    """Raised by a crash of the host."""
    cycles: int = 0
    """How many cycles were frozen here, for their names."""


class MemoryDocuments(Documents):
    """The store of documents; what was put is there for the next life. `stored` hears of everything."""

    def __init__(self, files: SiteFiles, life: Life, stored: Stored) -> None:
        self._files = files
        self._life = life
        self._stored = stored

    def put(self, id_: str, document: Document) -> None:
        self._life.act()
        self._files.documents[type(document).__name__, id_] = msgspec.json.encode(document)
        self._stored(type(document).__name__, id_, document)

    def get(self, kind: type[T], id_: str) -> T | None:
        found = self._files.documents.get((kind.__name__, id_))
        return None if found is None else msgspec.json.decode(found, type=kind)

    def all(self, kind: type[T]) -> dict[str, T]:
        found = sorted(item for item in self._files.documents.items() if item[0][0] == kind.__name__)
        return {id_: msgspec.json.decode(body, type=kind) for (_, id_), body in found}

    def remove(self, kind: type[Document], id_: str) -> None:
        self._life.act()
        self._files.documents.pop((kind.__name__, id_), None)
        self._stored(kind.__name__, id_, None)

    def close(self) -> None:
        """Nothing is open."""


def later(*times: datetime | None) -> datetime | None:
    """The latest that is known."""
    return max((time for time in times if time is not None), default=None)
