"""The replication engine: tracked disks, frames on the wire, immutable layers, thin clones.

A handful of verbs on disks, all blocking and thread-safe. It knows nothing of Kubernetes, operators or health.
"""

from secondsite.agent.lab.engine.bucket import TokenBucket
from secondsite.agent.lab.engine.client import PeerClient
from secondsite.agent.lab.engine.clone import Clone
from secondsite.agent.lab.engine.codec import Compression
from secondsite.agent.lab.engine.compare import CompareResult
from secondsite.agent.lab.engine.demotion import demote, finish_demotion
from secondsite.agent.lab.engine.disk import SourceDisk
from secondsite.agent.lab.engine.errors import (
    DamagedBlock,
    EngineError,
    HeadConflict,
    LinkError,
    MapNotTrusted,
    NoSpace,
    PeerRefused,
    PointInUse,
    QuiesceFailed,
    StaleGeneration,
    Stopped,
    StoreDamaged,
    StoreLocked,
    UnknownClone,
    UnknownPoint,
    WaitingForMedia,
)
from secondsite.agent.lab.engine.failover import cancel_failover, fail_over
from secondsite.agent.lab.engine.flattening import finish_promotion
from secondsite.agent.lab.engine.link import Link
from secondsite.agent.lab.engine.promotion import prepare_promotion, promote
from secondsite.agent.lab.engine.quiesce import Quiesce
from secondsite.agent.lab.engine.retention import retention
from secondsite.agent.lab.engine.retired import (
    PromotedAway,
    demotion_pending,
    forget_promotion,
    promoted_away,
    promotion_pending,
)
from secondsite.agent.lab.engine.routes import Authorize, Post
from secondsite.agent.lab.engine.scrub import ScrubProgress, ScrubResult
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
from secondsite.wire.peer import BLOCK_BYTES, Consistency, CycleKind, HashBasis

__all__ = [
    "BLOCK_BYTES",
    "Authorize",
    "BlockRef",
    "Clone",
    "CloneInfo",
    "CompareResult",
    "Compression",
    "Consistency",
    "CycleKind",
    "CycleResult",
    "DamagedBlock",
    "DataServer",
    "EngineError",
    "Freeze",
    "HashBasis",
    "HeadConflict",
    "Link",
    "LinkError",
    "MapNotTrusted",
    "NoSpace",
    "PeerClient",
    "PeerRefused",
    "PointInUse",
    "Post",
    "Progress",
    "PromotedAway",
    "Quiesce",
    "QuiesceFailed",
    "RecoveryPoint",
    "ReplicationSource",
    "ScrubProgress",
    "ScrubResult",
    "SourceDisk",
    "StaleGeneration",
    "Stopped",
    "StoreDamaged",
    "StoreLocked",
    "TargetStore",
    "TokenBucket",
    "UnknownClone",
    "UnknownPoint",
    "WaitingForMedia",
    "cancel_failover",
    "demote",
    "demotion_pending",
    "fail_over",
    "finish_demotion",
    "finish_promotion",
    "forget_promotion",
    "prepare_promotion",
    "promote",
    "promoted_away",
    "promotion_pending",
    "retention",
]
