"""The status of a ReplicationPolicy, its condition types and their reasons."""

from enum import StrEnum
from typing import Annotated

from secondsite.api.base import Model
from secondsite.api.condition import ConditionStatus, Status
from secondsite.api.markers import AtMost
from secondsite.api.scalars import Count, Port, Text, Time, Word
from secondsite.api.window import EffectiveWindow


class CloudName(Model):
    """A cloud of a site."""

    site: Word
    """Name of the VMMSite."""
    cloud: Word
    """Name of the cloud."""


class CloudPairStatus(Model):
    """How far a pair of clouds is prepared for replication."""

    source: CloudName
    """The cloud whose VMs are protected."""
    target: CloudName
    """The cloud that takes the replicas."""
    associated: ConditionStatus
    """True when both sites are prepared; Unknown when one could not be asked."""
    reason: Word
    """The cause as one word."""
    message: Text | None = None
    """The particulars, with what to do."""
    port: Port | None = None
    """TCP port on which the target takes replication."""


class ReplicationPolicyStatus(Status):
    """What the operator sees of the policy and of the VMs that use it."""

    cloud_pairs: Annotated[tuple[CloudPairStatus, ...], AtMost(16)] = ()
    """How far each pair of clouds is prepared."""
    rpo_target_seconds: Count | None = None
    """Seconds that a replica may be behind: `spec.rpo.targetSeconds`, or three replication intervals."""
    resynchronization_window: EffectiveWindow | None = None
    """When resynchronization may start; absent with Manual."""
    protected_vms: Count | None = None
    """ProtectedVMs that use the policy."""
    within_rpo: Count | None = None
    """Those that are within their RPO target."""
    rolled_out: Count | None = None
    """Those whose settings at the sites are those of the policy."""
    last_test_failover_time: Time | None = None
    """When one of them last passed a test failover."""


class PolicyCondition(StrEnum):
    """Condition types of a ReplicationPolicy."""

    ASSOCIATED = "Associated"
    ROLLED_OUT = "RolledOut"
    READY = "Ready"


class PolicyReason(StrEnum):
    """Reasons in the conditions and cloud pairs of a ReplicationPolicy."""

    READY = "Ready"
    ASSOCIATED = "Associated"
    ASSOCIATING = "Associating"
    SITE_NOT_FOUND = "SiteNotFound"
    SITE_NOT_READY = "SiteNotReady"
    CLOUD_NOT_FOUND = "CloudNotFound"
    STORAGE_CLASSIFICATION_NOT_FOUND = "StorageClassificationNotFound"
    TRANSPORT_CONFLICT = "TransportConflict"
    """An older policy has another transport at the same hosts; that one is served."""
    ASSOCIATION_FAILED = "AssociationFailed"
    ROLLED_OUT = "RolledOut"
    ROLLING_OUT = "RollingOut"
    CHANGE_REFUSED = "ChangeRefused"
    """A change cannot be applied; the old setting stays."""
    IN_USE = "InUse"
    """Deletion waits for the ProtectedVMs that the message names."""
