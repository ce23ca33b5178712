"""The status of a VMMSite: the agent, the inventory, the prerequisites.

The bounds of the lists multiply: the largest inventory stays below half of the 1 MiB that an object may have.
"""

from typing import Annotated, Literal

from pydantic import Field

from secondsite.api.base import Model
from secondsite.api.condition import Status
from secondsite.api.markers import AtMost
from secondsite.api.scalars import MAX_INTEGER, Address, Count, Subnet, Time, Word

ShortName = Annotated[str, AtMost(64)]
ShortNames = Annotated[tuple[ShortName, ...], AtMost(16)]


class Agent(Model):
    """The program that answers for the site."""

    id: Word
    """Identity of the agent's installation."""
    version: Word
    """Version of the agent."""
    driver: Word
    """What it drives: hyperv or lab."""
    capabilities: Annotated[tuple[Word, ...], AtMost(32)] = ()
    """What this driver can do beyond the common contract."""


class VMM(Model):
    """The VMM server."""

    name: Word
    """Name of the server."""
    version: Word
    """Version of VMM."""


class Cloud(Model):
    """A VMM cloud of the site."""

    name: Word
    """Name of the cloud."""
    hosts: Count
    """Hyper-V hosts in it."""
    vms: Count
    """VMs in it, replicas included."""
    storage_classifications: ShortNames = ()
    """Storage classifications that it offers; at most 16 are listed."""
    logical_networks: ShortNames = ()
    """Logical networks that it offers; at most 16 are listed."""


class Pool(Model):
    """Addresses that VMM hands out in a subnet."""

    start: Address
    """First address."""
    end: Address
    """Last address."""
    free: Count
    """Addresses not in use."""


class NetworkSubnet(Model):
    """A subnet of a VM network."""

    name: ShortName
    """Name of the subnet."""
    cidr: Subnet
    """The subnet as CIDR."""
    vlan: Annotated[int, Field(ge=0, le=4094)] | None = None
    """VLAN, where there is one."""
    gateway: Address | None = None
    """Default gateway."""
    pool: Pool | None = None
    """Address pool, where there is one."""


class Network(Model):
    """A VM network of the site."""

    name: Word
    """Name of the VM network."""
    logical_network: ShortName | None = None
    """Logical network below it."""
    isolation: ShortName | None = None
    """Isolation, as VMM names it."""
    subnets: Annotated[tuple[NetworkSubnet, ...], AtMost(8)] = ()
    """Subnets; at most 8 are listed."""


class Storage(Model):
    """Storage of one classification."""

    classification: Word
    """Name of the classification."""
    capacity_bytes: Count
    """Bytes in all."""
    free_bytes: Count
    """Bytes free."""


class Prerequisite(Model):
    """One check that the agent makes before anything is protected."""

    check: Word
    """Name of the check."""
    verdict: Literal["Passed", "Failed", "Unknown"]
    """Passed, Failed, or Unknown when it could not be made."""
    message: Annotated[str, AtMost(512)] | None = None
    """What was found."""
    remedy: Annotated[str, AtMost(512)] | None = None
    """What to do about it."""


class Registration(Model):
    """How the agent is known."""

    key_expiry_time: Time | None = None
    """When the outstanding registration bundle expires; absent when there is none."""
    certificate_expiry_time: Time | None = None
    """When the agent's certificate expires; it is renewed after two thirds of its life."""


class SiteRequestsServed(Model):
    """The last request token of each sort that was served."""

    issue_registration: Word | None = None
    """Last token of `spec.requests.issueRegistration` served."""
    refresh_inventory: Word | None = None
    """Last token of `spec.requests.refreshInventory` served."""
    sweep_test_vms: Word | None = None
    """Last token of `spec.requests.sweepTestVMs` served."""


class VMMSiteStatus(Status):
    """What the operator sees of the site."""

    agent: Agent | None = None
    """The agent that answers."""
    vmm: VMM | None = None
    """The VMM server."""
    last_contact_time: Time | None = None
    """When the agent last answered; refreshed with the rest of the status, not with each answer."""
    clock_skew_seconds: Annotated[int, Field(ge=-MAX_INTEGER, le=MAX_INTEGER)] | None = None
    """Seconds by which the site's clock is ahead of the operator's; negative when it is behind."""
    clouds: Annotated[tuple[Cloud, ...], AtMost(64)] = ()
    """Clouds that are used; at most 64 are listed."""
    networks: Annotated[tuple[Network, ...], AtMost(96)] = ()
    """VM networks; at most 96 are listed."""
    storage: Annotated[tuple[Storage, ...], AtMost(64)] = ()
    """Storage by classification; at most 64 are listed."""
    unprotected_vms: Count | None = None
    """VMs in the used clouds that no ProtectedVM names."""
    prerequisites: Annotated[tuple[Prerequisite, ...], AtMost(64)] = ()
    """Checks of the site, those that failed first; at most 64 are listed."""
    registration: Registration | None = None
    """How the agent is known."""
    requests: SiteRequestsServed | None = None
    """The last request tokens served."""
