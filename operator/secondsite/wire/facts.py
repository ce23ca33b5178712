"""What a site reports of relations and operations, as it says it: never a judgement.

msgspec Structs, frozen and outside the garbage collector's reach: an operator holds tens of thousands of them.
Times are aware datetimes in UTC by the site's own clock. A field that the site does not know is None, never zero.
"""

from datetime import datetime
from typing import Literal

import msgspec

from secondsite.wire.base import camel

Mode = Literal["None", "Primary", "Replica", "TestReplica"]
Health = Literal["NotApplicable", "Normal", "Warning", "Critical"]
PointType = Literal["CrashConsistent", "AppConsistent", "Synced"]
OperationState = Literal["Running", "Succeeded", "Failed", "Interrupted", "Abandoned"]

# Names of the VMReplicationState enumeration (Hyper-V PowerShell module 2.0); "Disabled" is also said of a VM
# without a relation, where it is an expected state of EnableReplication.
State = Literal[
    "Disabled",
    "ReadyForInitialReplication",
    "InitialReplicationInProgress",
    "WaitingForInitialReplication",
    "Replicating",
    "PreparedForFailover",
    "FailedOverWaitingCompletion",
    "FailedOver",
    "Suspended",
    "Error",
    "WaitingForStartResynchronize",
    "Resynchronizing",
    "ResynchronizeSuspended",
    "RecoveryInProgress",
    "WaitingForUpdateCompletion",
    "UpdateError",
    "Unknown",
]


class Fact(msgspec.Struct, frozen=True, gc=False, rename=camel, omit_defaults=True):
    """Base of all facts."""


class Owner(Fact, frozen=True):
    """Which vault, commanded from which cluster, enabled the relation."""

    vault: str
    control_plane: str


class Point(Fact, frozen=True):
    """A recovery point. `source_time` is when the source stood still for it, the instant lag is measured from."""

    id: str
    source_time: datetime
    basis: Literal["Freeze", "Estimated"] = "Freeze"
    type: PointType = "CrashConsistent"
    name: str = ""
    damaged: bool = False
    """Parts of it do not match their digests and are not served: no test starts from it until they are mended."""


class DiskSlot(Fact, frozen=True):
    """Where a disk hangs in its VM: what stays the same on both sides."""

    controller_type: Literal["IDE", "SCSI"]
    controller_number: int
    controller_location: int


class TestVM(Fact, frozen=True):
    """The test VM of a replica; `owner` is the identity of the test that asked for it."""

    id: str
    name: str
    host: str
    owner: str
    state: Literal["Off", "Running"]
    network: str = ""
    recovery_point: Point | None = None


class AdapterSetting(Fact, frozen=True):
    """One adapter of the replica VM as it stands: where it will be connected, with which addresses."""

    adapter: str
    """Identity of the adapter: its MAC address as the source shows it."""
    network: str = ""
    """Empty: stays disconnected."""
    addresses: tuple[str, ...] = ()
    test_network: str = ""
    gateway: str = ""
    dns_servers: tuple[str, ...] = ()


class Replication(Fact, frozen=True):
    """Settings of a relation as applied (Set-VMReplication's parameters, and ours)."""

    interval_seconds: int
    retention_hours: int = 24
    app_consistent_interval_hours: int = 0
    rpo_target_seconds: int = 0
    authentication: Literal["Certificate", "Kerberos"] = "Certificate"
    compression: bool = True
    auto_resynchronize: bool = True
    resynchronize_start: str = "18:30"
    resynchronize_end: str = "06:00"
    resynchronize_time_zone: str = "UTC"


class Relation(Fact, frozen=True):
    """One half of a replication relation, as its own site sees it. The id of its entry is the VM's id."""

    vm_id: str
    vm_name: str
    mode: Mode
    state: State
    health: Health
    peer_site: str
    time: datetime
    """When the site first saw it so: looking again without news changes nothing."""
    health_reasons: tuple[str, ...] = ()
    """Stable codes, such as `resync-required`, `missed-over-20-percent`."""
    message: str = ""
    owner: Owner | None = None
    epoch: int = 0
    changes: int = 0
    """Raised with every completed change; part of the intent of the next command."""
    settings: Replication | None = None
    adapters: tuple[AdapterSetting, ...] = ()
    disks: tuple[DiskSlot, ...] = ()
    """The disks that are replicated."""
    storage: str = ""
    last_replication_time: datetime | None = None
    last_applied_time: datetime | None = None
    last_cycle_seconds: float | None = None
    newest_point: Point | None = None
    point_count: int = 0
    oldest_point_time: datetime | None = None
    newest_app_consistent_time: datetime | None = None
    pending_bytes: int | None = None
    initial_total_bytes: int | None = None
    initial_sent_bytes: int | None = None
    bytes_per_second: float | None = None
    cycles: int = 0
    """Completed replication cycles since enable."""
    initial_start_time: datetime | None = None
    """When initial replication will begin, where it waits for a time."""
    resynchronize_start_time: datetime | None = None
    resynchronize_percent: int | None = None
    """How far the comparison of a resynchronization is; None where none is under way."""
    failover_point: Point | None = None
    """Replica's side, failed over: the point that the VM runs from."""
    last_test_time: datetime | None = None
    test_vm: TestVM | None = None
    served_requests: tuple[tuple[str, str], ...] = ()
    """Pairs of request name and the last token served."""
    seconds_outside_rpo: tuple[tuple[str, int], ...] | None = None
    """Replica's side: UTC day and seconds outside the target, 35 days. None: the site does not keep them."""


class Counters(Fact, frozen=True):
    """What Measure-VMReplication counts since `start`. Sizes in bytes, latencies in seconds."""

    start: datetime
    end: datetime
    """When the window ends and everything is counted anew."""
    expected: int = 0
    """Whole intervals since `start`, those of initial replication and of a suspension among them."""
    successful: int = 0
    missed: int = 0
    replication_errors: int = 0
    network_errors: int = 0
    vss_errors: int = 0
    total_bytes: int = 0
    largest_bytes: int = 0
    average_bytes: float | None = None
    average_latency_seconds: float | None = None
    """None before the first success."""
    largest_latency_seconds: float = 0


class Ledger(Fact, frozen=True):
    """What a site remembers of a VM for good, whether it holds a relation or not. The id of its entry is the VM's id.

    A new relation takes the highest `released_epoch` of both sites + 1, so an enable that was interrupted goes on
    under the same epoch, and one after a disable never meets the commands of its forerunner.
    """

    vm_id: str
    epoch: int = 0
    """Highest epoch of any completed command."""
    released_epoch: int = 0
    """Highest epoch whose relation this site has given up."""
    changes: int = 0
    owner: Owner | None = None
    served_requests: tuple[tuple[str, str], ...] = ()


class Step(Fact, frozen=True):
    """One step of an operation."""

    name: str
    state: OperationState | Literal["Pending"]
    message: str = ""


class Operation(Fact, frozen=True):
    """A command that this site began. The id of its entry is its key."""

    key: str
    verb: str
    intent: str
    attempt: int
    state: OperationState
    start_time: datetime
    vm_id: str = ""
    end_time: datetime | None = None
    percent: int | None = None
    code: str = ""
    """A problem code, where it failed."""
    message: str = ""
    remedy: str = ""
    term: int = 0
    epoch: int = 0
    request_name: str = ""
    request_token: str = ""
    steps: tuple[Step, ...] = ()
    result: dict[str, str] = msgspec.field(default_factory=dict)
