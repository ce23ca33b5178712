"""Reasons in the conditions of a ProtectedVM."""

from enum import StrEnum


class ProtectedVMReason(StrEnum):
    """Reasons in the conditions of a ProtectedVM; CommonReason has those that every kind shares."""

    READY = "Ready"

    # Protected
    REPLICATING = "Replicating"
    VALIDATING = "Validating"
    POLICY_NOT_FOUND = "PolicyNotFound"
    POLICY_NOT_READY = "PolicyNotReady"
    SITE_NOT_FOUND = "SiteNotFound"
    SITE_NOT_READY = "SiteNotReady"
    CLOUD_NOT_COVERED = "CloudNotCovered"
    """The policy has no pair for the VM's cloud."""
    STORAGE_CLASSIFICATION_NOT_FOUND = "StorageClassificationNotFound"
    VM_NOT_FOUND = "VMNotFound"
    VM_NAME_NOT_UNIQUE = "VMNameNotUnique"
    VM_NOT_SUPPORTED = "VMNotSupported"
    """The VM cannot be replicated as it is; `status.errors` says why."""
    ALREADY_PROTECTED = "AlreadyProtected"
    """Another, older ProtectedVM has the same VM."""
    REPLICATES_ALREADY = "ReplicatesAlready"
    """The VM replicates and no vault owns it; `spec.existingReplication` Adopt takes it over."""
    OWNED_BY_ANOTHER_VAULT = "OwnedByAnotherVault"
    WAITING_FOR_SLOT = "WaitingForSlot"
    WAITING_FOR_WINDOW = "WaitingForWindow"
    WAITING_FOR_MEDIA = "WaitingForMedia"
    ENABLING = "Enabling"
    INITIAL_REPLICATION_RUNNING = "InitialReplicationRunning"
    INITIAL_REPLICATION_FAILED = "InitialReplicationFailed"
    SUSPENDED_BY_USER = "SuspendedByUser"
    SUSPENDED_AT_SITE = "SuspendedAtSite"
    """Someone suspended replication at the site, not through the spec."""
    RESYNCHRONIZATION_REQUIRED = "ResynchronizationRequired"
    RESYNCHRONIZING = "Resynchronizing"
    REPLICATION_ERROR = "ReplicationError"
    REPLICATION_CRITICAL = "ReplicationCritical"
    REPLICA_MISSING = "ReplicaMissing"
    RELATION_REMOVED = "RelationRemoved"
    """A half that was there is gone, and the spec still wants it."""
    VIEWS_DISAGREE = "ViewsDisagree"
    """The two sites say what cannot both be true."""
    FAILED_OVER = "FailedOver"
    OPERATION_FAILED = "OperationFailed"

    # CoverageComplete
    ALL_DISKS_REPLICATED = "AllDisksReplicated"
    DISKS_EXCLUDED = "DisksExcluded"
    DISK_NOT_REPLICATED = "DiskNotReplicated"
    NOT_ENABLED = "NotEnabled"

    # NetworkMapped
    ALL_ADAPTERS_MAPPED = "AllAdaptersMapped"
    NO_ADAPTERS = "NoAdapters"
    ADAPTER_DISCONNECTED = "AdapterDisconnected"
    ADAPTER_NOT_FOUND = "AdapterNotFound"
    ADAPTER_NAME_NOT_UNIQUE = "AdapterNameNotUnique"
    ADDRESS_COLLISION = "AddressCollision"

    # SitesReachable
    SITES_REACHABLE = "SitesReachable"

    # WithinRPO
    WITHIN_RPO = "WithinRPO"
    RPO_EXCEEDED = "RPOExceeded"
    NO_RECOVERY_POINT = "NoRecoveryPoint"

    # TestFailoverCurrent
    TESTED = "Tested"
    NEVER_TESTED = "NeverTested"
    TEST_OUTDATED = "TestOutdated"
    TEST_FAILED = "TestFailed"

    # SettingsApplied
    APPLIED = "Applied"
    APPLYING = "Applying"
    CHANGE_REFUSED = "ChangeRefused"
    """A change cannot be applied; the old setting stays."""
