"""ReplicationPolicy: between which clouds, how often, with how many recovery points, how far behind at most."""

from typing import Annotated, Literal

from pydantic import Field

from secondsite.api.base import Model
from secondsite.api.kind import AGE, READY, Column, Kind
from secondsite.api.markers import ListMap, Rule, say
from secondsite.api.replicationpolicy_status import ReplicationPolicyStatus
from secondsite.api.scalars import FolderPath, LocalRef, Name, Port
from secondsite.api.window import Window


class CloudRef(Model):
    """A cloud of a site."""

    site_ref: LocalRef
    """The VMMSite. Required. Mutable."""
    cloud: Name
    """Name of the VMM cloud there, as VMM writes it. Required. Mutable."""


class StorageMapping(Model):
    """Where replicas of VMs on a storage classification are placed."""

    source_classification: Name
    """Storage classification at the source. Required. Mutable."""
    target_classification: Name
    """Storage classification at the target. Required. A change counts for VMs enabled later. Mutable."""


class CloudPair(
    Model,
    rules=(
        Rule(
            "self.source.siteRef.name != self.target.siteRef.name",
            "must be of another site than `source.siteRef`",
            path=".target.siteRef",
        ),
    ),
):
    """A source cloud and the cloud that holds its replicas."""

    source: CloudRef
    """The cloud whose VMs are protected. Required. Mutable."""
    target: CloudRef
    """The cloud that takes the replicas, at another site. Required. A change counts for VMs enabled later. Mutable."""
    storage: Annotated[tuple[StorageMapping, ...], Field(max_length=64), ListMap("sourceClassification")] = ()
    """Where replicas are placed by storage classification. At most 64, empty by default: the target's default.
    Mutable."""


class RecoveryPoints(
    Model,
    rules=(
        Rule(
            "self.appConsistentIntervalHours == 0 || self.retentionHours > 0",
            "must be 0 when `retentionHours` is 0: without kept recovery points there are no app-consistent ones",
            path=".appConsistentIntervalHours",
        ),
        Rule(
            "self.retentionHours == 0 || self.appConsistentIntervalHours <= self.retentionHours",
            "must not be greater than `retentionHours`",
            expression=say("must not be greater than `retentionHours`, which is %d", "self.retentionHours"),
            path=".appConsistentIntervalHours",
        ),
    ),
):
    """Recovery points kept at the target beside the newest one."""

    retention_hours: Annotated[int, Field(ge=0, le=24)] = 24
    """Hours for which hourly recovery points are kept. 0-24, default 24; 0 keeps the newest only. Less removes points.
    Mutable."""
    app_consistent_interval_hours: Annotated[int, Field(ge=0, le=12)] = 0
    """Hours between app-consistent recovery points. 0-12, default 0: none. Not above `retentionHours`. Mutable."""


class RPO(Model):
    """How far the replica may be behind."""

    target_seconds: Annotated[int, Field(ge=60, le=604800)] | None = None
    """Seconds that a replica may be behind its source. 60-604800, at least twice the replication interval, because lag
    swings by an interval and the transfer. Unset by default: three intervals, shown in the status. A change counts from
    now on. Mutable."""
    budget_minutes: Annotated[int, Field(ge=0, le=50400)] = 60
    """Minutes per window that a VM may be outside its target. 0-50400, default 60. Counted anew over the window.
    Mutable."""
    window_days: Annotated[int, Field(ge=1, le=35)] = 30
    """Days over which the budget is counted. 1-35, default 30. Mutable."""


class Transport(Model):
    """How the sites talk to each other when they replicate."""

    authentication: Literal["Certificate", "Kerberos"] = "Certificate"
    """Certificate or Kerberos, default Certificate. A change reconfigures both sites and every VM, without a new copy.
    Mutable."""
    port: Port | None = None
    """TCP port on which the target takes replication. 1-65535, unset by default: 8084 for Certificate, 8083 for
    Kerberos; the status shows it. A change reconfigures both sites and every VM. Mutable."""
    compression: bool = True
    """Whether replicated data is compressed. Default true. A change rolls out to every VM. Mutable."""


class InitialReplication(
    Model,
    rules=(
        Rule(
            "self.method != 'Offline' || has(self.exportPath)",
            "must be set when `method` is 'Offline'",
            reason="FieldValueRequired",
            path=".exportPath",
        ),
        Rule(
            "self.method != 'Offline' || has(self.importPath)",
            "must be set when `method` is 'Offline'",
            reason="FieldValueRequired",
            path=".importPath",
        ),
        Rule(
            "self.method == 'Offline' || !has(self.exportPath)",
            "may only be set when `method` is 'Offline'",
            reason="FieldValueForbidden",
            path=".exportPath",
        ),
        Rule(
            "self.method == 'Offline' || !has(self.importPath)",
            "may only be set when `method` is 'Offline'",
            reason="FieldValueForbidden",
            path=".importPath",
        ),
    ),
):
    """How the first copy gets to the target."""

    method: Literal["Online", "Offline", "ExistingReplica"] = "Online"
    """Online: over the network; Offline: on media that people carry; ExistingReplica: compared with a VM that is there
    already. Default Online. A change counts for VMs enabled later. Mutable."""
    window: Window | None = None
    """When initial replications may start. Unset by default: at any time. One that runs is not stopped. Mutable."""
    export_path: FolderPath | None = None
    """Base folder at the source to which the copy is exported. 1-512 characters; required with Offline, else forbidden.
    Mutable."""
    import_path: FolderPath | None = None
    """Base folder at the target from which the copy is imported. 1-512 characters; required with Offline, else
    forbidden. Mutable."""


class Resynchronization(
    Model,
    rules=(
        Rule(
            "self.mode == 'Automatic' || !has(self.window)",
            "may only be set when `mode` is 'Automatic'",
            reason="FieldValueForbidden",
            path=".window",
        ),
    ),
):
    """What happens when source and replica must be compared again."""

    mode: Literal["Automatic", "Manual"] = "Automatic"
    """Automatic: in the window; Manual: when a ProtectedVM's `requests.resynchronize` asks. Default Automatic.
    Mutable."""
    window: Window | None = None
    """When resynchronization may start. Unset by default: 18:30 to 06:00 UTC, shown in the status. Only with Automatic.
    Mutable."""


class TestFailoverRule(Model):
    """How often a VM has to be tested."""

    max_age_days: Annotated[int, Field(ge=1, le=3650)] = 180
    """Days after which the last successful test failover of a VM is out of date. 1-3650, default 180. Mutable."""


_TWICE = "self.filter(a, !self.exists_one(b, a.source == b.source))[0].source"


class ReplicationPolicySpec(
    Model,
    rules=(
        Rule(
            "!has(self.rpo.targetSeconds) || self.rpo.targetSeconds >= 2 * self.replicationIntervalSeconds",
            "must be at least twice `replicationIntervalSeconds`",
            expression=say(
                "must be at least twice `replicationIntervalSeconds`, that is %d: lag swings by one interval and more",
                "2 * self.replicationIntervalSeconds",
            ),
            path=".rpo.targetSeconds",
        ),
    ),
):
    """How VMs are replicated. A change rolls out to the VMs that use the policy; none is protected anew for it."""

    cloud_pairs: Annotated[
        tuple[CloudPair, ...],
        Field(min_length=1, max_length=16),
        Rule(
            "self.all(a, self.exists_one(b, a.source == b.source))",
            "must not have two pairs with the same `source`",
            expression=say(
                "must not have two pairs with the same `source`: cloud '%s' of '%s' is there twice",
                f"{_TWICE}.cloud",
                f"{_TWICE}.siteRef.name",
            ),
        ),
    ]
    """Source clouds and their targets. 1-16, each source once. A pair that is in use and taken away is reported.
    Mutable."""
    replication_interval_seconds: Literal[30, 300, 900] = 300
    """Seconds between replication cycles: 30, 300 or 900 (what Hyper-V Replica offers). Default 300. A change rolls
    out. Mutable."""
    recovery_points: RecoveryPoints = RecoveryPoints()
    """Recovery points kept at the target. A change rolls out. Mutable."""
    rpo: RPO = RPO()
    """How far the replica may be behind. Mutable."""
    transport: Transport = Transport()
    """How the sites talk to each other when they replicate. Mutable."""
    initial_replication: InitialReplication = InitialReplication()
    """How the first copy gets to the target. Mutable."""
    resynchronization: Resynchronization = Resynchronization()
    """What happens when source and replica must be compared again. A change rolls out. Mutable."""
    test_failover: TestFailoverRule = TestFailoverRule()
    """How often a VM has to be tested. Mutable."""
    replica_on_disable: Literal["Keep", "Delete"] = "Keep"
    """What becomes of the replica when protection ends: Keep or Delete, default Keep. Counts for protections that end
    later. Mutable."""


REPLICATION_POLICY = Kind(
    name="ReplicationPolicy",
    plural="replicationpolicies",
    short_name="rpol",
    description="How VMs are replicated: between which clouds, how often, with how many recovery points.",
    spec=ReplicationPolicySpec,
    status=ReplicationPolicyStatus,
    columns=(
        Column("INTERVAL", ".spec.replicationIntervalSeconds", "Seconds between replication cycles.", type="integer"),
        Column("RPO", ".status.rpoTargetSeconds", "Seconds that a replica may be behind.", type="integer"),
        Column("VMS", ".status.protectedVMs", "ProtectedVMs that use the policy.", type="integer"),
        Column("IN-RPO", ".status.withinRPO", "ProtectedVMs within their RPO target.", type="integer"),
        READY,
        Column(
            "LAST-TEST",
            ".status.lastTestFailoverTime",
            "Time since the last test failover of one of them.",
            type="date",
        ),
        AGE,
    ),
    selectable=(".spec.replicationIntervalSeconds",),
)
