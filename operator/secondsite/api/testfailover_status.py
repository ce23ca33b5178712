"""The status of a TestFailover, its states, condition types and their reasons."""

from enum import StrEnum
from typing import Annotated, Literal

from secondsite.api.base import Model
from secondsite.api.condition import Status, Step
from secondsite.api.markers import AtMost
from secondsite.api.scalars import Address, Count, Time, Word


class TestFailoverState(StrEnum):
    """One word for what is going on, derived from the conditions."""

    __test__ = False

    PENDING = "Pending"
    QUEUED = "Queued"
    PREPARING = "Preparing"
    RUNNING = "Running"
    WAITING_FOR_CLEANUP = "WaitingForCleanup"
    CLEANING_UP = "CleaningUp"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"


class UsedRecoveryPoint(Model):
    """The recovery point from which a test VM was made."""

    id: Word
    """Identity of the point at the site."""
    source_time: Time
    """When the source held this content."""
    type: Word
    """Regular, ApplicationConsistent or Planned."""


class VMAdapter(Model):
    """A network adapter of a test VM."""

    name: Word
    """Name of the adapter."""
    network: Word | None = None
    """VM network to which it is connected; absent when it is not."""
    addresses: Annotated[tuple[Address, ...], AtMost(16)] = ()
    """Addresses that it has."""


class CheckResult(Model):
    """How a check ended."""

    name: Word
    """Name of the check."""
    verdict: Literal["Pending", "Passed", "Failed", "Unknown"]
    """Pending while it is repeated; Unknown when the site could not be asked."""
    message: Annotated[str, AtMost(512)] | None = None
    """What was answered."""
    time: Time | None = None
    """When it passed or failed."""


class Evidence(Model):
    """Where the evidence of the test is."""

    name: Word
    """Name of the ConfigMap."""
    digest: Word
    """Digest of its content."""


class TestedVM(Model):
    """One VM of the test."""

    name: Word
    """Name of the ProtectedVM."""
    test_vm: Word | None = None
    """Name of the test VM."""
    host: Word | None = None
    """Hyper-V host on which it runs."""
    recovery_point: UsedRecoveryPoint | None = None
    """The recovery point from which it was made."""
    adapters: Annotated[tuple[VMAdapter, ...], AtMost(12)] = ()
    """Its network adapters."""
    checks: Annotated[tuple[CheckResult, ...], AtMost(16)] = ()
    """How its checks ended."""
    evidence: Evidence | None = None
    """Where the evidence is."""


class TestFailoverStatus(Status):
    """How the test goes."""

    state: TestFailoverState | None = None
    """One word for what is going on, derived from the conditions."""
    steps: Annotated[tuple[Step, ...], AtMost(64)] = ()
    """What was done, in order; at most 64 are listed."""
    vms: Annotated[tuple[TestedVM, ...], AtMost(20)] = ()
    """The VMs of the test; at most 20 are listed."""
    recovery_time_seconds: Count | None = None
    """Seconds from the start until the last check passed: what recovery would have taken."""
    recovery_point_age_seconds: Count | None = None
    """Age of the oldest recovery point used, when the test began: what would have been lost."""


class TestFailoverCondition(StrEnum):
    """Condition types of a TestFailover."""

    __test__ = False

    READY = "Ready"
    """Test VMs are up and the checks are done."""
    CHECKS_PASSED = "ChecksPassed"
    """Final when the checks end: what scripts wait for with Manual."""
    CLEANED_UP = "CleanedUp"
    COMPLETE = "Complete"
    """True only after clean-up, with reason Succeeded or Failed."""


class TestFailoverReason(StrEnum):
    """Reasons in the conditions of a TestFailover; CommonReason has those that every kind shares."""

    __test__ = False

    QUEUED = "Queued"
    PREPARING = "Preparing"
    RUNNING = "Running"
    WAITING_FOR_CLEANUP = "WaitingForCleanup"
    CLEANING_UP = "CleaningUp"
    CLEANED_UP = "CleanedUp"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"

    PROTECTED_VM_NOT_FOUND = "ProtectedVMNotFound"
    VM_NOT_PROTECTED = "VMNotProtected"
    """There is no usable recovery point, or replication is being resynchronized."""
    VM_IN_ANOTHER_TEST = "VMInAnotherTest"
    RECOVERY_POINT_NOT_FOUND = "RecoveryPointNotFound"
    RECOVERY_POINT_DAMAGED = "RecoveryPointDamaged"
    """Latest is the newest point, and that cannot be read in full: another one would prove nothing about it."""
    NETWORK_NOT_FOUND = "NetworkNotFound"
    SITE_SUSPENDED = "SiteSuspended"
    """`spec.suspended` of the target is true: no command is sent to it."""
    TEST_VMS_RUNNING = "TestVMsRunning"
    TEST_VM_FAILED = "TestVMFailed"
    CHECKS_PENDING = "ChecksPending"
    CHECKS_PASSED = "ChecksPassed"
    NO_CHECKS = "NoChecks"
    CHECK_FAILED = "CheckFailed"
    OUTCOME_UNKNOWN = "OutcomeUnknown"
    """A site could not be asked how an operation ended."""
    NOT_STARTED = "NotStarted"
    CLEANUP_FAILED = "CleanupFailed"
