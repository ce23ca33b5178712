"""NetworkMapping: which network at one site stands for which at the other, and what becomes of the addresses."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from secondsite.api.base import Model
from secondsite.api.condition import Status
from secondsite.api.kind import AGE, READY, REASON, Column, Kind
from secondsite.api.markers import AtMost, ListMap, ListType, Rule
from secondsite.api.networkmapping_rules import DHCP, EXPLICIT, OFFSET, ONE_TO_ONE, OVERLAPS, PAIR, UNIQUE_ADDRESSES
from secondsite.api.scalars import CIDR, IMMUTABLE, IP, Count, LocalRef, Name, Text, Word

AddressMode = Literal["Preserve", "Offset", "Pool", "DHCP"]
OnUnmapped = Literal["Disconnect", "Block"]


class NetworkRef(Model):
    """A VM network of a site."""

    site_ref: LocalRef
    """The VMMSite. Required. Immutable."""
    network: Name
    """Name of the VM network there, as VMM writes it. Required. Immutable."""


class AddressPair(Model):
    """An address and the one that stands for it at the target."""

    source: IP
    """Address at the source, inside the pair's `source`. Required. Mutable."""
    target: IP
    """Address at the target, inside the pair's `target`; no other pair has it. Required. A change counts at the next
    rollout. Mutable."""


class SubnetPair(Model, rules=(*PAIR, *EXPLICIT)):
    """A subnet and the one that stands for it at the target."""

    source: CIDR
    """Subnet at the source as CIDR in canonical form, IPv4 or IPv6. Required; no two pairs overlap. Mutable."""
    target: CIDR
    """Subnet at the target, of the same family; with Offset of the same prefix length. Required; no two pairs overlap.
    Mutable."""
    gateway: IP | None = None
    """Default gateway at the target, inside `target`. Unset by default: that of the target's pool. Forbidden with DHCP.
    Mutable."""
    explicit: Annotated[tuple[AddressPair, ...], Field(max_length=64), ListType("atomic"), *ONE_TO_ONE] = ()
    """Single addresses that do not follow the mode, one to one. At most 64, empty by default. Forbidden with DHCP.
    Mutable."""


class NetworkMappingSpec(
    Model,
    rules=(
        Rule(
            "self.source.siteRef.name != self.target.siteRef.name || self.source.network != self.target.network",
            "must not be the same network as `source`",
            path=".target",
        ),
        *OFFSET,
        *DHCP,
    ),
):
    """What a network is mapped to. One mapping serves both directions; a mapping of the reverse direction overrides it
    for the way back.
    """

    source: Annotated[NetworkRef, IMMUTABLE]
    """The network of the protected VMs. Required. Immutable."""
    target: Annotated[NetworkRef, IMMUTABLE]
    """The network to which they fail over. Required. Immutable."""
    test_network: Name | None = None
    """VM network at the target to which test VMs are connected. Unset by default: an isolated network per test.
    Mutable."""
    address_mode: AddressMode
    """Preserve keeps an address; Offset keeps its host part in the target subnet; Pool takes one from the target's
    pool; DHCP leaves it to the guest. Required. A change rolls out to every VM of the network. Mutable."""
    subnets: Annotated[tuple[SubnetPair, ...], Field(max_length=64), ListMap("source"), *OVERLAPS] = ()
    """Which subnet stands for which. At most 64, each source once, empty by default; with Offset at least one.
    Mutable."""
    dns_servers: Annotated[tuple[IP, ...], Field(max_length=8), ListType("atomic"), UNIQUE_ADDRESSES] = ()
    """DNS servers at the target, in order. At most 8, empty by default: those of the target's pool. Forbidden with
    DHCP. Mutable."""
    on_unmapped: OnUnmapped = "Disconnect"
    """What an adapter gets whose address cannot be resolved. Disconnect: no network; Block: the VM is not ready to fail
    over. Default Disconnect; it is reported in both cases, never guessed. Mutable."""


class NetworkPlan(Model):
    """The plan for all adapters on the network, counted."""

    adapters: Count
    """Adapters of protected VMs on the source network."""
    resolved: Count
    """Those with a network, and an address where one is needed."""
    unresolved: Count
    """Those that would be disconnected."""
    collisions: Count
    """Those whose address another one has at the target."""
    pool_free: Count | None = None
    """Free addresses in the target's pools; absent without pools."""


class NetworkIssue(Model):
    """Something in the plan that a person should look at."""

    code: Word
    """The issue as one word."""
    message: Text
    """The particulars, with what to do."""
    protected_vm: Word | None = None
    """Name of the ProtectedVM, where it is about one."""
    adapter: Word | None = None
    """Name or MAC of the adapter, where it is about one."""


class NetworkMappingStatus(Status):
    """What the operator sees of both networks and of the adapters on them."""

    plan: NetworkPlan | None = None
    """The plan for all adapters on the network, counted; each VM's own stands in its ProtectedVM."""
    issues: Annotated[tuple[NetworkIssue, ...], AtMost(64)] = ()
    """What a person should look at; at most 64 are listed, the plan counts all."""


class MappingCondition(StrEnum):
    """Condition types of a NetworkMapping."""

    TARGET_AVAILABLE = "TargetAvailable"
    PLAN_COMPLETE = "PlanComplete"
    READY = "Ready"


class MappingReason(StrEnum):
    """Reasons in the conditions of a NetworkMapping."""

    RESOLVED = "Resolved"
    NETWORKS_FOUND = "NetworksFound"
    SITE_NOT_FOUND = "SiteNotFound"
    SITE_NOT_READY = "SiteNotReady"
    SOURCE_NETWORK_NOT_FOUND = "SourceNetworkNotFound"
    TARGET_NETWORK_NOT_FOUND = "TargetNetworkNotFound"
    TEST_NETWORK_NOT_FOUND = "TestNetworkNotFound"
    TARGET_SUBNET_NOT_FOUND = "TargetSubnetNotFound"
    POOL_NOT_FOUND = "PoolNotFound"
    POOL_EXHAUSTED = "PoolExhausted"
    ADAPTERS_UNRESOLVED = "AdaptersUnresolved"
    ADDRESSES_COLLIDE = "AddressesCollide"
    CONFLICT = "Conflict"
    """An older mapping has the same source; that one is served."""


NETWORK_MAPPING = Kind(
    name="NetworkMapping",
    plural="networkmappings",
    short_name="netmap",
    description="Which network at one site stands for which at the other, and what becomes of the addresses.",
    spec=NetworkMappingSpec,
    status=NetworkMappingStatus,
    columns=(
        Column("FROM", ".spec.source.siteRef.name", "Site of the source network."),
        Column("SOURCE", ".spec.source.network", "Source network."),
        Column("TO", ".spec.target.siteRef.name", "Site of the target network."),
        Column("TARGET", ".spec.target.network", "Target network."),
        READY,
        REASON,
        AGE,
        Column("TEST-NETWORK", ".spec.testNetwork", "Network of test VMs.", wide=True),
    ),
    selectable=(".spec.source.siteRef.name", ".spec.target.siteRef.name", ".spec.addressMode"),
)
