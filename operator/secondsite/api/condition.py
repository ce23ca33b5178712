"""Conditions: the truth in every status, in the shape of `metav1.Condition`."""

from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from secondsite.api.base import Model
from secondsite.api.markers import AtMost, ListMap
from secondsite.api.scalars import Count, Text, Time

ConditionStatus = Literal["True", "False", "Unknown"]


class CommonReason(StrEnum):
    """Reasons that any condition of any kind may have."""

    PENDING = "Pending"
    """The operator has not looked at the object yet."""
    NOT_IMPLEMENTED = "NotImplemented"
    """This version of Secondsite cannot do yet what the spec asks for."""
    SPEC_REFUSED = "SpecRefused"
    """The spec cannot be read or carried out; only a person can mend it."""
    REFERENCE_NOT_FOUND = "ReferenceNotFound"
    """An object that the spec names does not exist in this namespace."""
    SITE_UNREACHABLE = "SiteUnreachable"
    """A site does not answer: what is there is not known."""
    SITE_REFUSED = "SiteRefused"
    """A site answered no; the message has its code."""
    NOT_LEADING = "NotLeading"
    """Commands wait until this operator holds the lease and its fence."""
    DELETING = "Deleting"
    """The object is being deleted; the status names the steps left."""
    INTERNAL_ERROR = "InternalError"
    """A defect of the operator; its log has the traceback."""


class Condition(Model):
    """One aspect of the object as last observed."""

    type: Annotated[str, Field(min_length=1, max_length=64)]
    """Name of the condition."""
    status: ConditionStatus
    """True, False or Unknown; Unknown when a site could not be asked."""
    observed_generation: Count | None = None
    """`metadata.generation` that this condition is about."""
    last_transition_time: Time
    """When `status` last changed."""
    reason: Annotated[str, Field(min_length=1, max_length=64, pattern="^[A-Za-z][A-Za-z0-9]*$")]
    """The cause as one word, part of the API."""
    message: Annotated[str, AtMost(2048)]
    """The particulars as a sentence, with what to do."""


Conditions = Annotated[tuple[Condition, ...], AtMost(16), ListMap("type")]


class Status(Model):
    """What the status of every kind has."""

    observed_generation: Count | None = None
    """`metadata.generation` that this status is about."""
    conditions: Conditions = ()
    """What is true of the object; `Ready` is there from the start."""


StepState = Literal["Pending", "Running", "Succeeded", "Failed", "Unknown"]


class Step(Model):
    """One step of something that runs."""

    name: Annotated[str, AtMost(64)]
    """Name of the step."""
    state: StepState
    """How far the step is; Unknown when the site that ran it could not be asked."""
    message: Text | None = None
    """Particulars."""
    start_time: Time | None = None
    """When the step began."""
    end_time: Time | None = None
    """When the step ended."""


def find(conditions: Iterable[Condition], name: str) -> Condition | None:
    """The condition of that type, if there is one."""
    return next((condition for condition in conditions if condition.type == name), None)
