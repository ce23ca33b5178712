"""The status of a ProtectedVM, its states, condition types and their reasons."""

from enum import StrEnum
from typing import Annotated, Literal

from secondsite.api.base import Model
from secondsite.api.condition import Status, Step
from secondsite.api.markers import AtMost
from secondsite.api.scalars import Address, Count, Percent, Subnet, Text, Time, Word


class ProtectedVMState(StrEnum):
    """One word for what is going on, derived from the conditions."""

    PENDING = "Pending"
    VALIDATING = "Validating"
    WAITING_FOR_MEDIA = "WaitingForMedia"
    INITIAL_REPLICATION = "InitialReplication"
    PROTECTED = "Protected"
    RESYNCHRONIZATION_REQUIRED = "ResynchronizationRequired"
    RESYNCHRONIZING = "Resynchronizing"
    SUSPENDED = "Suspended"
    FAILING_OVER = "FailingOver"
    FAILED_OVER = "FailedOver"
    REVERSE_REPLICATING = "ReverseReplicating"
    ERROR = "Error"
    DELETING = "Deleting"
    UNKNOWN = "Unknown"


class Half(Model):
    """One site's own view of the replication relation, in Hyper-V's words."""

    site: Word
    """Name of the VMMSite."""
    mode: Word | None = None
    """Mode of the VM there, such as Primary or Replica."""
    state: Word | None = None
    """Replication state there, such as Replicating."""
    health: Word | None = None
    """Replication health there: Normal, Warning, Critical or NotApplicable."""
    health_reasons: Annotated[tuple[Word, ...], AtMost(16)] | None = None
    """Why it is not Normal, as codes such as missed-over-20-percent; the gravest first."""


class LastRecoveryPoint(Model):
    """The newest recovery point that the target can use."""

    source_time: Time
    """When the source held this content, by the operator's clock."""
    basis: Literal["Freeze", "Estimated"]
    """Freeze: the driver knows the moment; Estimated: last received minus the duration of that cycle."""
    type: Word
    """Regular, ApplicationConsistent or Planned."""


class RecoveryPointSummary(Model):
    """The recovery points at the target."""

    count: Count
    """How many there are, the newest included."""
    oldest_time: Time | None = None
    """Source time of the oldest."""
    newest_app_consistent_time: Time | None = None
    """Source time of the newest app-consistent one."""


class RPOBudget(Model):
    """Minutes outside the RPO target in the policy's window."""

    used_minutes: Count
    """Minutes that were outside."""
    left_minutes: Count
    """Minutes that may still be; 0 when the budget is used up."""


class Operation(Model):
    """What runs now."""

    name: Word
    """The verb."""
    start_time: Time
    """When it began."""
    steps: Annotated[tuple[Step, ...], AtMost(32)] = ()
    """Its steps."""


class PlannedAdapter(Model):
    """What a network adapter gets when the VM fails over."""

    name: Word
    """Name of the adapter."""
    mac_address: Word | None = None
    """MAC address of the adapter."""
    source_network: Word | None = None
    """VM network at the source."""
    source_addresses: Annotated[tuple[Address, ...], AtMost(16)] = ()
    """Addresses at the source."""
    resolution: Literal["Override", "Mapping", "Disconnected", "Collision", "Pending"]
    """What decided: the ProtectedVM's override, a NetworkMapping, nothing (then it is disconnected), a collision, or
    not yet."""
    mapping: Word | None = None
    """Name of the NetworkMapping that decided."""
    target_network: Word | None = None
    """VM network at the target; absent when disconnected."""
    target_subnet: Subnet | None = None
    """Subnet at the target."""
    addresses: Annotated[tuple[Address, ...], AtMost(16)] = ()
    """Addresses at the target; empty with DHCP."""
    gateway: Address | None = None
    """Default gateway at the target."""
    dns_servers: Annotated[tuple[Address, ...], AtMost(8)] = ()
    """DNS servers at the target, in order."""
    test_network: Word | None = None
    """VM network of the test VM; absent for an isolated one."""
    message: Text | None = None
    """Why it is disconnected or collides, with what to do."""


class ProblemReport(Model):
    """An error that stands in the way, with what to do about it."""

    code: Word
    """Stable code of the error."""
    message: Text
    """What was tried, on what, and what came back."""
    causes: Annotated[tuple[Annotated[str, AtMost(256)], ...], AtMost(8)] = ()
    """Possible causes, the likeliest first."""
    recommended_action: Text | None = None
    """What a person should do."""
    site: Word | None = None
    """Name of the VMMSite that reported it."""
    since: Time | None = None
    """When it was first seen."""


class VMRequestsServed(Model):
    """The last request token of each sort that was served."""

    synchronize: Word | None = None
    """Last token of `spec.requests.synchronize` served."""
    resynchronize: Word | None = None
    """Last token of `spec.requests.resynchronize` served."""
    import_initial_replication: Word | None = None
    """Last token of `spec.requests.importInitialReplication` served."""


class LastTestFailover(Model):
    """The last test failover of the VM."""

    name: Word
    """Name of the TestFailover."""
    time: Time
    """When its checks ended."""
    result: Literal["Succeeded", "Failed"]
    """Whether the VM passed."""


class Deletion(Model):
    """What still has to be done before the object is gone."""

    remaining: Annotated[tuple[Word, ...], AtMost(16)] = ()
    """Steps left, in order."""
    blocked_by: Text | None = None
    """What the next step waits for."""
    deadline_time: Time | None = None
    """When the steps left are recorded and the object goes."""


class ProtectedVMStatus(Status):
    """What both sites report of the VM, put together."""

    state: ProtectedVMState | None = None
    """One word for what is going on, derived from the conditions."""
    active_site: Word | None = None
    """Name of the VMMSite where the VM runs."""
    replica_site: Word | None = None
    """Name of the VMMSite that holds the replica."""
    vm_id: Word | None = None
    """Hyper-V id of the VM."""
    vm_name: Word | None = None
    """Name of the VM."""
    rpo_target_seconds: Count | None = None
    """Seconds that the replica may be behind."""
    policy_generation: Count | None = None
    """Generation of the policy whose settings both sites have."""
    epoch: Count | None = None
    """Counts enablement and each change of roles; a site refuses commands of an older one."""
    primary: Half | None = None
    """The half of the site where the VM runs."""
    replica: Half | None = None
    """The half of the site that holds the replica."""
    last_recovery_point: LastRecoveryPoint | None = None
    """The newest recovery point that the target can use; absent before the first. Its age is the lag."""
    recovery_points: RecoveryPointSummary | None = None
    """The recovery points at the target."""
    initial_replication_percent: Percent | None = None
    """Percent of the initial replication that has arrived."""
    pending_bytes: Count | None = None
    """Bytes that the source has not sent yet."""
    rpo_budget: RPOBudget | None = None
    """Minutes outside the RPO target in the policy's window."""
    operation: Operation | None = None
    """What runs now."""
    network_adapters: Annotated[tuple[PlannedAdapter, ...], AtMost(12)] = ()
    """What each network adapter gets when the VM fails over; at most 12 are listed."""
    errors: Annotated[tuple[ProblemReport, ...], AtMost(16)] = ()
    """Errors that stand in the way, the gravest first; at most 16 are listed."""
    requests: VMRequestsServed | None = None
    """The last request tokens served."""
    last_test_failover: LastTestFailover | None = None
    """The last test failover of the VM."""
    deletion: Deletion | None = None
    """What still has to be done before the object is gone; absent unless it is being deleted."""


class ProtectedVMCondition(StrEnum):
    """Condition types of a ProtectedVM; Ready is the conjunction of the four that follow it."""

    READY = "Ready"
    PROTECTED = "Protected"
    COVERAGE_COMPLETE = "CoverageComplete"
    NETWORK_MAPPED = "NetworkMapped"
    SITES_REACHABLE = "SitesReachable"
    WITHIN_RPO = "WithinRPO"
    TEST_FAILOVER_CURRENT = "TestFailoverCurrent"
    SETTINGS_APPLIED = "SettingsApplied"
