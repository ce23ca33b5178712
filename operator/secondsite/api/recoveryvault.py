"""RecoveryVault: configuration, certificate authority and roll-up of one namespace."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from secondsite.api.base import Model
from secondsite.api.condition import Status
from secondsite.api.kind import AGE, READY, Column, Kind
from secondsite.api.markers import AtMost
from secondsite.api.scalars import Count, Time, Token, Word

Slots = Annotated[int, Field(ge=1, le=1024)]


class Limits(Model):
    """How many operations of a sort may run at once between two sites; the others wait in line."""

    initial_replications: Slots = 3
    """Initial replications at once per pair of sites. 1-1024, default 3. A change counts for the next that starts.
    Mutable."""
    settings_updates: Slots = 10
    """Changes of replication settings at once per pair of sites. 1-1024, default 10. A change counts for the next that
    starts. Mutable."""
    test_failovers: Slots = 10
    """VMs in test failover at once per pair of sites. 1-1024, default 10. A change counts for the next that starts.
    Mutable."""
    failovers: Slots = 50
    """VMs failing over at once per pair of sites. 1-1024, default 50. A change counts for the next that starts.
    Mutable."""


class VaultRequests(Model):
    """One-shot requests: a token that was not served before asks once."""

    take_over: Token | None = None
    """Token of 1-64 characters, unset by default. A new one lets this cluster command sites that obeyed another
    cluster; set it only when that other cluster is gone for good. Mutable."""


class VaultRequestsServed(Model):
    """The last request token of each sort that was served."""

    take_over: Word | None = None
    """Last token of `spec.requests.takeOver` that all reachable sites have accepted."""


class RecoveryVaultSpec(Model):
    """What the vault shall be. Every field has a default."""

    registration_key_validity_hours: Annotated[int, Field(ge=1, le=720)] = 120
    """Hours for which a registration bundle can be used. 1-720, default 120. A change counts for the next bundle.
    Mutable."""
    agent_certificate_validity_days: Annotated[int, Field(ge=1, le=825)] = 90
    """Days for which the certificate of an agent is valid; it is renewed after two thirds. 1-825, default 90.
    A change counts from the next renewal. Mutable."""
    deletion_deadline_minutes: Annotated[int, Field(ge=5, le=10080)] = 60
    """Minutes that the deletion of an object waits for a site that does not answer; then the steps left are recorded
    and carried out when the site returns. 5-10080, default 60. A change counts for running deletions too. Mutable."""
    evidence_retention_days: Annotated[int, Field(ge=1, le=3650)] = 400
    """Days for which the evidence of test failovers is kept. 1-3650, default 400. Less removes older evidence.
    Mutable."""
    limits: Limits = Limits()
    """How many operations may run at once between two sites. Mutable."""
    requests: VaultRequests = VaultRequests()
    """One-shot requests. Mutable."""


class CertificateAuthority(Model):
    """One authority that the sites of this vault trust."""

    fingerprint: Word
    """SHA-256 of the authority's public key, as `sha256:` and 64 hexadecimal digits."""
    expiry_time: Time
    """When the authority's certificate expires."""


class SiteCounts(Model):
    """VMMSites of this vault, counted."""

    total: Count
    """All of them."""
    ready: Count
    """Those with `Ready=True`."""


class ProtectedVMCounts(Model):
    """ProtectedVMs of this namespace, counted by health."""

    total: Count
    """All of them."""
    healthy: Count
    """Ready and within their RPO target."""
    warning: Count
    """On their way or behind their RPO target, or not known."""
    critical: Count
    """Without working protection."""


class RecoveryVaultStatus(Status):
    """What the operator sees."""

    certificate_authorities: Annotated[tuple[CertificateAuthority, ...], AtMost(8)] = ()
    """Trusted authorities, the newest first; certificates are signed by the first."""
    sites: SiteCounts | None = None
    """VMMSites, counted."""
    protected_vms: ProtectedVMCounts | None = None
    """ProtectedVMs, counted by health."""
    requests: VaultRequestsServed | None = None
    """The last request tokens served."""


class VaultCondition(StrEnum):
    """Condition types of a RecoveryVault."""

    CERTIFICATE_AUTHORITY_READY = "CertificateAuthorityReady"
    READY = "Ready"


class VaultReason(StrEnum):
    """Reasons in the conditions of a RecoveryVault."""

    READY = "Ready"
    CERTIFICATE_AUTHORITY_ISSUED = "CertificateAuthorityIssued"
    CERTIFICATE_AUTHORITY_PENDING = "CertificateAuthorityPending"
    CERTIFICATE_AUTHORITY_LOST = "CertificateAuthorityLost"
    """A site answers with another authority of this vault: none is created; restore the exported one."""
    NOT_THE_ONLY_VAULT = "NotTheOnlyVault"
    """The namespace has an older RecoveryVault; that one is served."""
    NO_SITES = "NoSites"
    SITES_NOT_READY = "SitesNotReady"
    CONTROL_PLANE_CHANGED = "ControlPlaneChanged"
    """Sites obey another cluster until `spec.requests.takeOver` is set."""
    IN_USE = "InUse"
    """Deletion waits for the objects that the message names."""


RECOVERY_VAULT = Kind(
    name="RecoveryVault",
    plural="recoveryvaults",
    short_name="vault",
    description="The recovery vault of a namespace: configuration, certificate authority of the sites, and roll-up.",
    spec=RecoveryVaultSpec,
    status=RecoveryVaultStatus,
    columns=(
        READY,
        Column("SITES", ".status.sites.total", "VMMSites of this vault.", type="integer"),
        Column("VMS", ".status.protectedVMs.total", "ProtectedVMs of this namespace.", type="integer"),
        Column("CRITICAL", ".status.protectedVMs.critical", "ProtectedVMs without working protection.", type="integer"),
        AGE,
    ),
    selectable=(".status.protectedVMs.critical",),
    spec_required=False,
)
