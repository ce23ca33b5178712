"""ProtectedVM: one virtual machine, replicated by a policy."""

from typing import Annotated, Literal

from pydantic import Field

from secondsite.api.base import Model
from secondsite.api.kind import AGE, READY, REASON, Column, Kind
from secondsite.api.markers import ListMap, ListType, Rule, say
from secondsite.api.protectedvm_status import ProtectedVMState, ProtectedVMStatus
from secondsite.api.scalars import CIDR, GUID, IMMUTABLE, IP, MAC, LocalRef, Name, Token

_NAME_OR_ID = Rule("has(self.name) != has(self.id)", "must have either `name` or `id`")


class SourceVM(Model, rules=(_NAME_OR_ID,)):
    """The virtual machine, by name or id."""

    site_ref: LocalRef
    """The VMMSite where the VM runs when it is first protected. Required. Immutable."""
    cloud: Name
    """The VMM cloud of the VM. Required. Immutable."""
    name: Name | None = None
    """Name of the VM; refused while another VM of the cloud has it too. Either this or `id`. Immutable."""
    id: GUID | None = None
    """Hyper-V id of the VM. Either this or `name`. Immutable."""


class ExistingVM(Model, rules=(_NAME_OR_ID,)):
    """A VM at the target, by name or id."""

    name: Name | None = None
    """Name of the VM. Either this or `id`. Fixed once replication is enabled."""
    id: GUID | None = None
    """Hyper-V id of the VM. Either this or `name`. Fixed once replication is enabled."""


class DiskSlot(
    Model,
    rules=(
        Rule(
            "self.controllerType != 'IDE' || (self.controllerNumber <= 1 && self.controllerLocation <= 1)",
            "must be at controller 0-1 and location 0-1 when `controllerType` is 'IDE'",
        ),
    ),
):
    """Where a disk is attached; a slot names a disk for as long as the VM lives, a file name does not."""

    controller_type: Literal["IDE", "SCSI"]
    """IDE or SCSI. Required."""
    controller_number: Annotated[int, Field(ge=0, le=3)]
    """Number of the controller, 0-3. Required."""
    controller_location: Annotated[int, Field(ge=0, le=63)]
    """Location on the controller, 0-63. Required."""


class Target(Model):
    """Where the replica is placed."""

    storage_classification: Name | None = None
    """Storage classification at the target. Unset by default: as the policy maps it. Fixed once replication is
    enabled."""
    host_group: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    """Path of the VMM host group at the target. 1-256 characters, unset by default: any of the cloud. Fixed once
    replication is enabled."""
    existing_vm: ExistingVM | None = None
    """VM at the target that becomes the replica (with the policy's method ExistingReplica). Unset by default. Fixed
    once replication is enabled."""


class AdapterRef(
    Model, rules=(Rule("has(self.name) != has(self.macAddress)", "must have either `name` or `macAddress`"),)
):
    """A network adapter of the VM."""

    name: Name | None = None
    """Name of the adapter; refused while another adapter of the VM has it too. Either this or `macAddress`. Mutable."""
    mac_address: MAC | None = None
    """MAC address of the adapter, in upper case with colons. Either this or `name`. Mutable."""


class AdapterOverride(
    Model,
    rules=(
        Rule(
            "!has(self.addresses) || !has(self.targetSubnet) || !isCIDR(self.targetSubnet) || "
            "[cidr(self.targetSubnet)].all(s, self.addresses.all(a, !isIP(a) || s.containsIP(a)))",
            "must be inside `targetSubnet`",
            expression=say(
                "must be inside `targetSubnet`: '%s' is not in '%s'",
                "self.addresses.filter(a, isIP(a) && !cidr(self.targetSubnet).containsIP(a))[0]",
                "self.targetSubnet",
            ),
            path=".addresses",
        ),
    ),
):
    """What one adapter gets instead of what its NetworkMapping says."""

    adapter: AdapterRef
    """The adapter. Required; each adapter once. Mutable."""
    target_network: Name | None = None
    """VM network at the target. Unset by default: as mapped. A change rolls out to the replica. Mutable."""
    target_subnet: CIDR | None = None
    """Subnet at the target as CIDR in canonical form. Unset by default: as mapped. A change rolls out to the replica.
    Mutable."""
    addresses: Annotated[
        tuple[IP, ...],
        Field(max_length=16),
        ListType("atomic"),
        Rule("self.all(a, self.exists_one(b, a == b))", "must not name the same address twice"),
    ] = ()
    """Addresses at the target, inside `targetSubnet` where that is set. At most 16, empty by default: as mapped. A
    change rolls out to the replica. Mutable."""
    test_network: Name | None = None
    """VM network at the target to which the adapter of a test VM is connected. Unset by default: as mapped. Counts for
    the next test. Mutable."""


def _once(key: str) -> Rule:
    named = f"self.filter(a, has(a.adapter.{key}))"
    twice = f"self.exists_one(b, has(b.adapter.{key}) && a.adapter.{key} == b.adapter.{key})"
    return Rule(
        f"self.all(a, !has(a.adapter.{key}) || {twice})",
        f"must not name the same adapter twice by `{key}`",
        expression=say("must not name the same adapter twice: '%s'", f"{named}.filter(a, !{twice})[0].adapter.{key}"),
    )


class VMRequests(Model):
    """One-shot requests: a token that was not served before asks once."""

    synchronize: Token | None = None
    """Token of 1-64 characters, unset by default. A new one starts a replication cycle now, where the driver can.
    Mutable."""
    resynchronize: Token | None = None
    """Token of 1-64 characters, unset by default. A new one compares source and replica from the first to the last
    block; Hyper-V removes all recovery points for it. Mutable."""
    import_initial_replication: Token | None = None
    """Token of 1-64 characters, unset by default. A new one imports the media that were carried to the target.
    Mutable."""


class ProtectedVMSpec(Model):
    """Which VM is protected, and how."""

    vm: Annotated[SourceVM, IMMUTABLE]
    """The virtual machine. Required. Immutable."""
    policy_ref: LocalRef
    """The ReplicationPolicy. Required. A change is applied to the running replication, without a new copy; a policy
    without a pair for this cloud, or with another target, is refused in the status. Mutable."""
    excluded_disks: Annotated[
        tuple[DiskSlot, ...],
        Field(max_length=64),
        ListMap("controllerType", "controllerNumber", "controllerLocation"),
    ] = ()
    """Disks that are not replicated. At most 64, empty by default. A disk that is taken from the list is copied.
    Mutable."""
    target: Target = Target()
    """Where the replica is placed. Unset by default: as the policy says. Fixed once replication is enabled: a later
    change is not applied, and `SettingsApplied` says so."""
    network_adapters: Annotated[
        tuple[AdapterOverride, ...], Field(max_length=12), ListType("atomic"), _once("name"), _once("macAddress")
    ] = ()
    """What single adapters get instead of what their NetworkMapping says. At most 12, empty by default. Mutable."""
    replication: Literal["Enabled", "Suspended"] = "Enabled"
    """Suspended stops sending changes; they are tracked and sent after Enabled is set again. Default Enabled.
    Mutable."""
    existing_replication: Literal["Refuse", "Adopt"] = "Refuse"
    """What happens when the VM already replicates and no vault owns it: Refuse reports it, Adopt takes it over as it
    is. Default Refuse. Looked at until replication is enabled. Mutable."""
    initial_replication_priority: Annotated[int, Field(ge=0, le=100)] = 50
    """Place in the line of initial replications, the highest first. 0-100, default 50. Counts while it waits.
    Mutable."""
    requests: VMRequests = VMRequests()
    """One-shot requests; the status echoes the last one served. Mutable."""


PROTECTED_VM = Kind(
    name="ProtectedVM",
    plural="protectedvms",
    short_name="pvm",
    description="One virtual machine that is replicated to another site by a policy.",
    spec=ProtectedVMSpec,
    status=ProtectedVMStatus,
    columns=(
        Column("VM", ".status.vmName", "Name of the virtual machine."),
        Column("ACTIVE", ".status.activeSite", "Site where the VM runs."),
        Column("STATE", ".status.state", "What is going on, as one word."),
        READY,
        Column("RPO", ".status.rpoTargetSeconds", "Seconds that the replica may be behind.", type="integer"),
        Column(
            "LAG",
            ".status.lastRecoveryPoint.sourceTime",
            "Age of the newest usable recovery point, by the time at the source.",
            type="date",
        ),
        REASON,
        AGE,
        Column("POLICY", ".spec.policyRef.name", "The ReplicationPolicy.", wide=True),
        Column("POINTS", ".status.recoveryPoints.count", "Recovery points at the target.", type="integer", wide=True),
        Column(
            "PROGRESS",
            ".status.initialReplicationPercent",
            "Percent of the initial replication.",
            type="integer",
            wide=True,
        ),
    ),
    selectable=(
        ".spec.policyRef.name",
        ".spec.vm.siteRef.name",
        ".spec.vm.cloud",
        ".spec.replication",
        ".status.state",
        ".status.activeSite",
        ".status.replicaSite",
    ),
    initial_state=ProtectedVMState.PENDING,
)
