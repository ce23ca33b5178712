"""The replication engine: tracked disks, frames on the wire, immutable layers, thin clones.

A handful of verbs on disks, all blocking and thread-safe. It knows nothing of Kubernetes, operators or health.
"""

from secondsite.agent.lab.engine.bucket import TokenBucket
from secondsite.agent.lab.engine.client import PeerClient
from secondsite.agent.lab.engine.clone import Clone
from secondsite.agent.lab.engine.codec import Compression
from secondsite.agent.lab.engine.disk import SourceDisk
from secondsite.agent.lab.engine.errors import (
    DamagedBlock,
    EngineError,
    HeadConflict,
    LinkError,
    MapNotTrusted,
    PeerRefused,
    PointInUse,
    QuiesceFailed,
    Stopped,
    StoreDamaged,
    StoreLocked,
    UnknownClone,
    UnknownPoint,
)
from secondsite.agent.lab.engine.link import Link
from secondsite.agent.lab.engine.quiesce import Quiesce
from secondsite.agent.lab.engine.retention import retention
from secondsite.agent.lab.engine.routes import Authorize, Post
from secondsite.agent.lab.engine.server import DataServer
from secondsite.agent.lab.engine.source import ReplicationSource
from secondsite.agent.lab.engine.store import TargetStore
from secondsite.agent.lab.engine.types import (
    BlockRef,
    CloneInfo,
    CycleResult,
    Freeze,
    Progress,
    RecoveryPoint,
)
from secondsite.wire.peer import BLOCK_BYTES, Consistency, CycleKind

__all__ = [
    "BLOCK_BYTES",
    "Authorize",
    "BlockRef",
    "Clone",
    "CloneInfo",
    "Compression",
    "Consistency",
    "CycleKind",
    "CycleResult",
    "DamagedBlock",
    "DataServer",
    "EngineError",
    "Freeze",
    "HeadConflict",
    "Link",
    "LinkError",
    "MapNotTrusted",
    "PeerClient",
    "PeerRefused",
    "PointInUse",
    "Post",
    "Progress",
    "Quiesce",
    "QuiesceFailed",
    "RecoveryPoint",
    "ReplicationSource",
    "SourceDisk",
    "Stopped",
    "StoreDamaged",
    "StoreLocked",
    "TargetStore",
    "TokenBucket",
    "UnknownClone",
    "UnknownPoint",
    "retention",
]
