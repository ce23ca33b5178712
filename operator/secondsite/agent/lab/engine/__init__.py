"""The replication engine: tracked disks, frames on the wire, immutable layers, thin clones.

A handful of verbs on disks, all blocking and thread-safe. It knows nothing of Kubernetes, operators or health.
"""

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
from secondsite.agent.lab.engine.media.adopt import adopt
from secondsite.agent.lab.engine.media.image_formats import ImageFormat, ImageRefused
from secondsite.agent.lab.engine.media.images import ImageToolMissing, export_image, import_image
from secondsite.agent.lab.engine.media.initial import MediaRefused, export_initial, import_initial
from secondsite.agent.lab.engine.media.seeding import seed
from secondsite.agent.lab.engine.port.bucket import TokenBucket
from secondsite.agent.lab.engine.port.client import PeerClient
from secondsite.agent.lab.engine.port.codec import Compression
from secondsite.agent.lab.engine.port.link import Link
from secondsite.agent.lab.engine.port.routes import Authorize, Post
from secondsite.agent.lab.engine.port.server import DataServer
from secondsite.agent.lab.engine.primary.compare import CompareResult
from secondsite.agent.lab.engine.primary.disk import SourceDisk
from secondsite.agent.lab.engine.primary.disk_sets import change_disks
from secondsite.agent.lab.engine.primary.quiesce import Quiesce, shut_down
from secondsite.agent.lab.engine.primary.source import ReplicationSource
from secondsite.agent.lab.engine.replica.catalogue import Promoted
from secondsite.agent.lab.engine.replica.clone import Clone
from secondsite.agent.lab.engine.replica.retention import retention
from secondsite.agent.lab.engine.replica.scrub import ScrubProgress, ScrubResult
from secondsite.agent.lab.engine.replica.store import TargetStore
from secondsite.agent.lab.engine.roles.demotion import demote, finish_demotion
from secondsite.agent.lab.engine.roles.failover import cancel_failover, fail_over
from secondsite.agent.lab.engine.roles.flattening import finish_promotion
from secondsite.agent.lab.engine.roles.promotion import prepare_promotion, promote
from secondsite.agent.lab.engine.roles.retired import (
    PromotedAway,
    demotion_pending,
    forget_promotion,
    promoted_away,
    promotion_pending,
)
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
    "ImageFormat",
    "ImageRefused",
    "ImageToolMissing",
    "Link",
    "LinkError",
    "MapNotTrusted",
    "MediaRefused",
    "NoSpace",
    "PeerClient",
    "PeerRefused",
    "PointInUse",
    "Post",
    "Progress",
    "Promoted",
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
    "adopt",
    "cancel_failover",
    "change_disks",
    "demote",
    "demotion_pending",
    "export_image",
    "export_initial",
    "fail_over",
    "finish_demotion",
    "finish_promotion",
    "forget_promotion",
    "import_image",
    "import_initial",
    "prepare_promotion",
    "promote",
    "promoted_away",
    "promotion_pending",
    "retention",
    "seed",
    "shut_down",
]
