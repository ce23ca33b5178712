"""What a turn knows: the wishes of the cluster and the facts of the sites, gathered before anything is decided.

Absence is a fact (`None`) and so is ignorance (`UNKNOWN`): a site that does not answer has not said no.
Nothing here is copied per turn: mappings are the mirrors' own, read and never changed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from typing import Final, Literal

from secondsite.api.kind import Object
from secondsite.api.networkmapping import NetworkMappingSpec
from secondsite.api.protectedvm import ProtectedVMSpec
from secondsite.api.recoveryvault import RecoveryVaultSpec
from secondsite.api.replicationpolicy import ReplicationPolicySpec
from secondsite.api.testfailover import TestFailoverSpec
from secondsite.api.vmmsite import VMMSiteSpec
from secondsite.wire.agent import AgentInfo, Check
from secondsite.wire.facts import Ledger, Operation, Relation
from secondsite.wire.inventory import VM, Association, Network, Pool, Site, TestNetwork, Tombstone


class Unknown(Enum):
    """The type of `UNKNOWN`: nobody can say at present."""

    UNKNOWN = "Unknown"


UNKNOWN: Final = Unknown.UNKNOWN

Half = Relation | None | Unknown
"""One site's half of a relation: its facts, that there is none, or that nobody can say."""


@dataclass(frozen=True, slots=True)
class Contact:
    """Whether the site answers. `since` is when it last changed from one to the other."""

    answer: Literal["Reachable", "Unreachable", "Unknown"] = "Unknown"
    since: datetime | None = None
    last_time: datetime | None = None
    reason: str = ""
    """Stable word for a failure, such as `ConnectionRefused`, `CertificateExpired`, `Timeout`."""
    message: str = ""


@dataclass(frozen=True, slots=True)
class SiteView:
    """One site as its feed tells it. Facts count only while it is `known`."""

    name: str
    contact: Contact = field(default_factory=Contact)
    synced: bool = False
    """Its feed has given one whole answer since the operator started."""
    suspended: bool = False
    """`VMMSite.spec.suspended`: no command is sent to it."""
    info: AgentInfo | None = None
    skew: timedelta = timedelta(0)
    """Its clock minus the operator's."""
    site: Site | None = None
    relations: Mapping[str, Relation] = field(default_factory=dict)
    vms: Mapping[str, VM] = field(default_factory=dict)
    vms_by_name: Mapping[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    """(cloud, name) → ids of production VMs."""
    operations: Mapping[str, tuple[Operation, ...]] = field(default_factory=dict)
    """By VM id (empty: the site's own), oldest first: what runs, and the latest outcomes."""
    networks: Mapping[str, Network] = field(default_factory=dict)
    pools: Mapping[str, Pool] = field(default_factory=dict)
    """By `network/subnet`."""
    ledgers: Mapping[str, Ledger] = field(default_factory=dict)
    """By VM id: what the site remembers of a VM, with or without a relation."""
    holders: Mapping[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    """(network, address) → ids of the production VMs that use it."""
    associations: Mapping[str, Association] = field(default_factory=dict)
    test_networks: Mapping[str, TestNetwork] = field(default_factory=dict)
    tombstones: Mapping[str, Tombstone] = field(default_factory=dict)

    @property
    def known(self) -> bool:
        """Whether what stands here can be believed: it answers now and has told everything once."""
        return self.synced and self.contact.answer == "Reachable"

    def half(self, vm_id: str) -> Half:
        """The site's half of this VM's relation."""
        return self.relations.get(vm_id) if self.known else UNKNOWN

    def ran(self, vm_id: str, intent: str) -> tuple[Operation, ...]:
        """What became of an intent here, oldest attempt first."""
        return tuple(op for op in self.operations.get(vm_id, ()) if op.intent == intent)

    def running(self, vm_id: str) -> tuple[Operation, ...]:
        """Operations of this VM that have not ended."""
        return tuple(op for op in self.operations.get(vm_id, ()) if op.state == "Running")


@dataclass(frozen=True, slots=True)
class Identity:
    """Who commands: part of every relation's owner mark."""

    vault: str
    """Random id of the vault, kept with its authority's key; empty until that is loaded."""
    control_plane: str


@dataclass(frozen=True, slots=True)
class LastTest:
    """How a VM's last test ended."""

    name: str
    time: datetime
    passed: bool


@dataclass(frozen=True, slots=True)
class VMWorld:
    """All that decides about one ProtectedVM."""

    now: datetime
    vm: Object[ProtectedVMSpec]
    identity: Identity
    vault: Object[RecoveryVaultSpec] | None
    policy: Object[ReplicationPolicySpec] | None
    source_site: Object[VMMSiteSpec] | None
    target_site: Object[VMMSiteSpec] | None
    source: SiteView
    target: SiteView | None
    """None: the policy has no pair for the VM's cloud, or there is no policy."""
    mappings: tuple[Object[NetworkMappingSpec], ...] = ()
    """All of the namespace that name one of the two sites, oldest first."""
    tests: tuple[str, ...] = ()
    """Names of TestFailovers that use this VM and are not cleaned up."""
    association: str = ""
    """Id of the association that this VM's pair of clouds needs."""
    known_vm_id: str = ""
    """From our own earlier status, for reporting only: what to show while the source cannot be asked."""
    status: Mapping[str, object] = field(default_factory=dict)
    """What we last reported, or the parts of it that are kept: shown on while a site cannot be asked."""
    rival: str = ""
    """Name of an older ProtectedVM that has the same VM: that one is served."""
    last_test: LastTest | None = None
    """The newest TestFailover with this VM whose checks ended."""
    tombstones: frozenset[str] = frozenset()
    """Ids of the tombstones that the cluster already remembers."""


@dataclass(frozen=True, slots=True)
class TestWorld:
    """All that decides about one TestFailover."""

    now: datetime
    test: Object[TestFailoverSpec]
    identity: Identity
    vault: Object[RecoveryVaultSpec] | None
    members: Mapping[str, VMWorld | None]
    """By the name in `protectedVMRefs`; None: there is no such ProtectedVM."""
    others: Mapping[str, str] = field(default_factory=dict)
    """ProtectedVM → name of an older TestFailover that holds its one test VM."""
    started: datetime | None = None
    """From the status or the site's operations, for reporting durations only."""
    status: Mapping[str, object] = field(default_factory=dict)
    """What we last reported: results of checks that ended are carried on from it when the site has forgotten them."""
    sites: tuple[SiteView, ...] = ()
    """All of the namespace: a test VM stays findable when the ProtectedVM that led to it is gone."""
    tombstones: frozenset[str] = frozenset()
    """Ids of the tombstones that the cluster already remembers."""


@dataclass(frozen=True, slots=True)
class PolicyWorld:
    """All that decides about one ReplicationPolicy."""

    now: datetime
    policy: Object[ReplicationPolicySpec]
    identity: Identity
    sites: Mapping[str, SiteView]
    site_objects: Mapping[str, Object[VMMSiteSpec]]
    others: tuple[Object[ReplicationPolicySpec], ...] = ()
    """The namespace's other policies, oldest first: two transports at one host are a conflict."""
    users: tuple["VMSummary", ...] = ()
    """The ProtectedVMs that name it."""
    vault: Object[RecoveryVaultSpec] | None = None


@dataclass(frozen=True, slots=True)
class VMSummary:
    """What others need to know of a ProtectedVM: its own last verdict."""

    name: str
    state: str
    within_rpo: bool | None
    settings_applied: bool
    health: str = ""
    last_test_time: datetime | None = None


@dataclass(frozen=True, slots=True)
class MappingWorld:
    """All that decides about one NetworkMapping."""

    now: datetime
    mapping: Object[NetworkMappingSpec]
    source: SiteView
    target: SiteView
    site_objects: Mapping[str, Object[VMMSiteSpec]]
    others: tuple[Object[NetworkMappingSpec], ...] = ()
    vms: tuple[VMWorld, ...] = ()
    """Protected VMs with an adapter that this mapping may decide about."""


@dataclass(frozen=True, slots=True)
class Registration:
    """What the vault's Secret remembers of one outstanding bundle."""

    serial: str
    expiry: datetime
    site_uid: str
    endpoint: str
    token: str = ""
    """`requests.issueRegistration` that it serves."""
    bound_key: str = ""
    """Fingerprint of the only key that may still redeem it."""


@dataclass(frozen=True, slots=True)
class SiteWorld:
    """All that decides about one VMMSite."""

    now: datetime
    site: Object[VMMSiteSpec]
    vault: Object[RecoveryVaultSpec] | None
    identity: Identity
    view: SiteView
    peer: Literal["Agent", "Bootstrap", "Stranger", "Unknown"] = "Unknown"
    """What the certificate shown at the endpoint says."""
    certificate_expiry: datetime | None = None
    registration: Registration | None = None
    checks: tuple[Check, ...] | Unknown = UNKNOWN
    users: tuple[str, ...] = ()
    """Objects that refer to it, as `kind/name`."""
    protected: frozenset[str] = frozenset()
    """Ids of its VMs that a ProtectedVM names."""


@dataclass(frozen=True, slots=True)
class VaultWorld:
    """All that decides about one RecoveryVault."""

    now: datetime
    vault: Object[RecoveryVaultSpec]
    identity: Identity
    authorities: tuple[tuple[str, datetime], ...] | Unknown = UNKNOWN
    """(fingerprint, expiry) of each; UNKNOWN: the Secret could not be read."""
    foreign_sites: tuple[str, ...] = ()
    """Sites of this vault that answer with an authority which we do not hold."""
    sites: tuple[tuple[str, bool], ...] = ()
    """(name, ready)."""
    vms: tuple[VMSummary, ...] = ()
    users: tuple[str, ...] = ()
    older: str = ""
    """Name of an older vault in the namespace: that one is served."""
