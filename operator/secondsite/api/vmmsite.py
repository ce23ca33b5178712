"""VMMSite: one VMM server with its Hyper-V hosts, and the agent that runs beside it."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from secondsite.api.base import Model
from secondsite.api.kind import AGE, READY, Column, Kind, condition_column
from secondsite.api.markers import ListType, Rule
from secondsite.api.scalars import Fingerprint, LocalRef, Name, Token
from secondsite.api.vmmsite_status import VMMSiteStatus

_HOST = r"([A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?|\\[[0-9A-Fa-f:.]+\\])"

Endpoint = Annotated[
    str,
    Field(max_length=273),
    Rule(
        # isURL alone takes credentials, an empty port and port 99999.
        f"isURL(self) && self.matches('^https://{_HOST}(:[0-9]{{1,5}})?$') && (url(self).getPort() == '' "
        "|| (int(url(self).getPort()) >= 1 && int(url(self).getPort()) <= 65535))",
        "must be 'https://', a host and optionally ':' and a port, such as 'https://vmm.newyork.example.com:8443'; "
        "without path, slash at the end, or credentials",
    ),
]


class ReplicationBandwidth(Model):
    """What replication may take of the link."""

    limit_bytes_per_second: Annotated[int, Field(ge=65536, le=10**12)] | None = None
    """Bytes per second that this site sends at most, all its VMs together. At least 65536, unset by default: no limit.
    A change takes effect at once. Mutable."""


class SiteRequests(Model):
    """One-shot requests: a token that was not served before asks once."""

    issue_registration: Token | None = None
    """Token of 1-64 characters, unset by default. A new one issues a new registration bundle: for an agent that was
    replaced, or whose bundle or certificate has expired. Mutable."""
    refresh_inventory: Token | None = None
    """Token of 1-64 characters, unset by default. A new one makes VMM read its hosts and VMs again. Mutable."""
    sweep_test_vms: Token | None = None
    """Token of 1-64 characters, unset by default. A new one removes test VMs at this site that no TestFailover claims.
    Mutable."""


class VMMSiteSpec(Model):
    """Where the site is and what of it is used."""

    vault_ref: Annotated[
        LocalRef, Rule("self == oldSelf", "cannot be changed: delete the VMMSite and create it in the other vault")
    ]
    """The RecoveryVault to which the site belongs. Required. Immutable."""
    endpoint: Endpoint
    """URL of the agent: https, host and optional port (443 when there is none). Required. A change makes the operator
    dial the new address; a registration bundle that is outstanding becomes void. Mutable."""
    agent_key_fingerprint: Fingerprint | None = None
    """SHA-256 of the agent's public key, as `secondsite agent run` prints it. Unset by default: the first agent with
    the bundle is registered. When set, no other key is ever signed. Mutable."""
    clouds: Annotated[tuple[Name, ...], Field(max_length=64), ListType("set")] = ()
    """Names of the VMM clouds that are used. At most 64, empty by default: all. VMs of other clouds cannot be
    protected; a cloud that is taken away leaves its replication running and is reported. Mutable."""
    suspended: bool = False
    """True stops every command to this site; it is still observed, and running replication goes on. Default false.
    Mutable."""
    replication_bandwidth: ReplicationBandwidth = ReplicationBandwidth()
    """What replication may take of the link. Mutable."""
    requests: SiteRequests = SiteRequests()
    """One-shot requests; the status echoes the last one served. Mutable."""


class SiteCondition(StrEnum):
    """Condition types of a VMMSite."""

    REGISTERED = "Registered"
    REACHABLE = "Reachable"
    PREREQUISITES_MET = "PrerequisitesMet"
    INVENTORY_SYNCED = "InventorySynced"
    READY = "Ready"


class SiteReason(StrEnum):
    """Reasons in the conditions of a VMMSite."""

    READY = "Ready"
    SUSPENDED = "Suspended"
    """`spec.suspended` is true: no command is sent."""
    REGISTERED = "Registered"
    WAITING_FOR_AGENT = "WaitingForAgent"
    """A bundle is issued and no agent has used it yet."""
    BUNDLE_EXPIRED = "BundleExpired"
    BUNDLE_SPENT = "BundleSpent"
    """Another key was bound to the bundle: ask for a new one, and find out who used it."""
    CERTIFICATE_EXPIRED = "CertificateExpired"
    FINGERPRINT_MISMATCH = "FingerprintMismatch"
    """The agent's key is not the one that `spec.agentKeyFingerprint` names."""
    CERTIFICATE_AUTHORITY_LOST = "CertificateAuthorityLost"
    VAULT_NOT_FOUND = "VaultNotFound"
    VAULT_NOT_READY = "VaultNotReady"
    REACHABLE = "Reachable"
    NOT_CONTACTED = "NotContacted"
    """No answer was received yet since the operator started."""
    UNREACHABLE = "Unreachable"
    IDENTITY_REFUSED = "IdentityRefused"
    """What answers is not the agent of this site, or does not accept this operator."""
    VERSION_NOT_SUPPORTED = "VersionNotSupported"
    CONTROL_PLANE_CHANGED = "ControlPlaneChanged"
    """The site obeys another cluster until the vault's `spec.requests.takeOver` is set."""
    PREREQUISITES_MET = "PrerequisitesMet"
    PREREQUISITE_FAILED = "PrerequisiteFailed"
    PREREQUISITES_UNKNOWN = "PrerequisitesUnknown"
    INVENTORY_SYNCED = "InventorySynced"
    INVENTORY_SYNCING = "InventorySyncing"
    """The first full answer is outstanding."""
    SETTLING = "Settling"
    """The Hyper-V management service restarts; relations are not readable yet."""
    CLOUD_NOT_FOUND = "CloudNotFound"
    IN_USE = "InUse"
    """Deletion waits for the objects that the message names."""


VMM_SITE = Kind(
    name="VMMSite",
    plural="vmmsites",
    short_name="site",
    description="One VMM server with its Hyper-V hosts, reached through the agent that runs beside it.",
    spec=VMMSiteSpec,
    status=VMMSiteStatus,
    columns=(
        Column("DRIVER", ".status.agent.driver", "What the agent drives: hyperv or lab."),
        condition_column("REACHABLE", "Reachable"),
        READY,
        Column("LAST-CONTACT", ".status.lastContactTime", "Time since the agent last answered.", type="date"),
        AGE,
        Column("ENDPOINT", ".spec.endpoint", "URL of the agent.", wide=True),
        condition_column("REASON", "Ready", field="reason", wide=True),
    ),
    selectable=(".spec.vaultRef.name", ".spec.suspended", ".status.agent.driver"),
)
