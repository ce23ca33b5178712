"""Damaged recovery points and a full storage, as a person sees them: an error each, with what to do."""

from datetime import timedelta
from typing import Any

import pytest

from secondsite.plan.observed import VMWorld
from secondsite.plan.protectedvm.decide import plan
from secondsite.plan.protectedvm.judge import judge
from secondsite.wire.facts import Point
from support import worlds as w
from support.simulated_sites import settle
from support.worlds import NOW, world

PROTECTED = settle(world())
DAMAGED = Point(id="p", source_time=NOW - timedelta(seconds=40), damaged=True)


def seen(*changes: w.Change) -> VMWorld:
    made = PROTECTED
    for change in changes:
        made = change(made)
    return made


def status(made: VMWorld) -> dict[str, Any]:
    return dict(judge(made, plan(made), ()).status)


def condition(made: VMWorld, name: str) -> str:
    [found] = [each for each in judge(made, plan(made), ()).findings if each.type == name]
    return found.status


@pytest.mark.parametrize(
    ("health", "reason", "code", "action"),
    [
        ("Critical", "replica-unreadable", "ReplicaUnreadable", "store repair"),
        ("Critical", "newest-point-damaged", "NewestPointDamaged", "name an older point"),
        ("Warning", "points-damaged", "PointsDamaged", "Check the storage"),
        ("Critical", "out-of-space", "OutOfSpace", "lower retentionHours"),
    ],
)
def test_damaged_points_and_a_full_storage_are_errors_with_what_to_do(
    health: str, reason: str, code: str, action: str
) -> None:
    made = seen(w.target_half(health=health, health_reasons=(reason,), message="2 damaged blocks on disk scsi-0-0"))
    [error] = status(made)["errors"]
    assert (error["code"], error["site"], error["causes"]) == (code, "chicago", [reason])
    assert error["message"] == "2 damaged blocks on disk scsi-0-0"
    assert action in error["recommendedAction"]
    assert condition(made, "Protected") == ("False" if health == "Critical" else "True")


def test_a_newest_point_that_is_called_damaged_is_an_error_whatever_the_health_says() -> None:
    made = seen(w.at(NOW), w.target_half(newest_point=DAMAGED))
    assert [error["code"] for error in status(made)["errors"]] == ["NewestPointDamaged"]
    both = seen(w.target_half(health="Critical", health_reasons=("out-of-space", "error-fix-and-resume")))
    assert [error["code"] for error in status(both)["errors"]] == ["ReplicationCritical", "OutOfSpace"]


@pytest.mark.parametrize(
    ("state", "reason", "action"),
    [
        ("Replicating", "cannot-deliver", "Check the link"),
        ("Error", "error-fix-and-resume", "resumed by itself"),
        ("WaitingForStartResynchronize", "resync-required", "mode Automatic"),
        ("Resynchronizing", "resynchronizing", "Wait for its end"),
        ("ResynchronizeSuspended", "resynchronizing", "goes on where it stopped"),
        ("UpdateError", "update-failed", "Set-VMReplication"),
        ("Replicating", "a-reason-of-a-newer-site", "event log"),
    ],
)
def test_a_critical_half_says_what_to_do(state: str, reason: str, action: str) -> None:
    made = seen(w.source_half(state=state, health="Critical", health_reasons=(reason,), message="why"))
    found = [error for error in status(made)["errors"] if error["code"] == "ReplicationCritical"]
    assert [error["causes"] for error in found] == [[reason]]
    assert action in found[0]["recommendedAction"]
