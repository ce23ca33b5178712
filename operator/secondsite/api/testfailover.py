"""TestFailover: a rehearsal beside production, on a thin copy of the replica."""

from typing import Annotated, Literal

from pydantic import Field

from secondsite.api.base import Model
from secondsite.api.kind import AGE, READY, Column, Kind, condition_column
from secondsite.api.markers import ListMap, Rule, say
from secondsite.api.scalars import IMMUTABLE, LocalRef, Name, Time, immutable
from secondsite.api.testfailover_check import Check
from secondsite.api.testfailover_status import TestFailoverState, TestFailoverStatus


def _goes_with(field: str, discriminator: str, value: str) -> tuple[Rule, Rule]:
    """`field` is required with that value of the discriminator, and forbidden with the others."""
    return (
        Rule(
            f"self.{discriminator} != '{value}' || has(self.{field})",
            f"must be set when `{discriminator}` is '{value}'",
            reason="FieldValueRequired",
            path=f".{field}",
        ),
        Rule(
            f"self.{discriminator} == '{value}' || !has(self.{field})",
            f"may only be set when `{discriminator}` is '{value}'",
            reason="FieldValueForbidden",
            path=f".{field}",
        ),
    )


class RecoveryPointChoice(Model, rules=(*_goes_with("time", "type", "At"), *_goes_with("name", "type", "Named"))):
    """From which recovery point the test VMs are made."""

    type: Literal["Latest", "LatestAppConsistent", "At", "Named"] = "Latest"
    """Latest; LatestAppConsistent; At: the newest not after `time`; Named: the one called `name`. Default Latest.
    Immutable."""
    time: Time | None = None
    """A moment as RFC 3339, by the source's time. Required with At, else forbidden. Immutable."""
    name: Name | None = None
    """Name of a recovery point. Required with Named, else forbidden. Immutable."""


class NetworkChoice(Model, rules=_goes_with("name", "type", "Existing")):
    """To which network the test VMs are connected."""

    type: Literal["Planned", "Existing", "Isolated", "None"] = "Planned"
    """Planned: the test network of the adapter or its mapping, else Isolated; Existing: the network `name`; Isolated:
    one made for this test, shared by its VMs; None: no network. Default Planned. Immutable."""
    name: Name | None = None
    """Name of a VM network at the target. Required with Existing, else forbidden. Immutable."""


class Cleanup(
    Model,
    rules=(
        Rule(
            "!oldSelf.requested || self.requested",
            "cannot be taken back: a clean-up that was requested goes on",
            path=".requested",
        ),
    ),
):
    """When the test VMs are removed. Whatever is set, they are removed 14 days after the test began."""

    mode: Literal["Automatic", "Manual"] = "Automatic"
    """Automatic: `afterMinutes` after the last check; Manual: when `requested` is set. Default Automatic. Mutable."""
    after_minutes: Annotated[int, Field(ge=0, le=20160)] = 60
    """Minutes from the end of the last check to the clean-up, with Automatic. 0-20160, default 60. Counts for a running
    test. Mutable."""
    requested: bool = False
    """True cleans up now, in either mode. Default false. Can be set once and not be taken back."""
    notes: Annotated[str, Field(max_length=2048)] | None = None
    """What people want to remember of the test; goes into its evidence. At most 2048 characters, unset by default.
    Mutable."""


_STRANGER = "self.checks.filter(c, has(c.vm) && !self.protectedVMRefs.exists(r, r.name == c.vm))[0]"


class TestFailoverSpec(
    Model,
    rules=(
        Rule(
            "has(self.protectedVMRefs) != has(self.recoveryPlanRef)",
            "must have either `protectedVMRefs` or `recoveryPlanRef`",
        ),
        Rule(
            "!has(self.checks) || !has(self.protectedVMRefs) || "
            "self.checks.all(c, !has(c.vm) || self.protectedVMRefs.exists(r, r.name == c.vm))",
            "must name VMs of `protectedVMRefs` only",
            expression=say(
                "must name VMs of `protectedVMRefs` only: '%s' of the check '%s' is not one",
                f"{_STRANGER}.vm",
                f"{_STRANGER}.name",
            ),
            path=".checks",
        ),
        immutable("protectedVMRefs"),
        immutable("recoveryPlanRef"),
        immutable("checks"),
    ),
):
    """What is tested, and how. All but `cleanup` and `ttlSecondsAfterFinished` is immutable."""

    protected_vm_refs: Annotated[tuple[LocalRef, ...], Field(min_length=1, max_length=20), ListMap("name")] | None = (
        None
    )
    """The ProtectedVMs to test together. 1-20; either these or `recoveryPlanRef`. Immutable."""
    recovery_plan_ref: LocalRef | None = None
    """The recovery plan to test; either this or `protectedVMRefs`. Immutable."""
    recovery_point: Annotated[RecoveryPointChoice, IMMUTABLE] = RecoveryPointChoice()
    """From which recovery point the test VMs are made. Default: the latest of each VM. Immutable."""
    network: Annotated[NetworkChoice, IMMUTABLE] = NetworkChoice()
    """To which network the test VMs are connected. Default: as planned. Immutable."""
    checks: Annotated[tuple[Check, ...], Field(max_length=16), ListMap("name")] = ()
    """What must answer in the test VMs. At most 16, empty by default: the test passes when the VMs run. Immutable."""
    cleanup: Cleanup = Cleanup()
    """When the test VMs are removed. Mutable."""
    ttl_seconds_after_finished: Annotated[int, Field(ge=0, le=31536000)] | None = None
    """Seconds after its end that this object is deleted; its evidence stays. 0-31536000, unset by default: kept.
    Mutable."""


TEST_FAILOVER = Kind(
    name="TestFailover",
    plural="testfailovers",
    short_name="tfo",
    description="A rehearsal of failover beside production: test VMs from a recovery point, checked and cleaned up. "
    "Deleting it is cleaning it up.",
    spec=TestFailoverSpec,
    status=TestFailoverStatus,
    columns=(
        Column("STATE", ".status.state", "What is going on, as one word."),
        READY,
        condition_column("CHECKS", "ChecksPassed"),
        Column(
            "RTO", ".status.recoveryTimeSeconds", "Seconds from the start until the last check passed.", type="integer"
        ),
        condition_column("CLEANED-UP", "CleanedUp"),
        AGE,
    ),
    selectable=(".status.state", ".spec.recoveryPlanRef.name", ".spec.cleanup.mode"),
    initial_state=TestFailoverState.PENDING,
)
