"""The mirror of a site: what it believes when agents are replaced and whole answers are cut off; attempts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from secondsite.controller.commands import attempt_of, check_due
from secondsite.controller.mirror import SiteMirror
from secondsite.controller.ports import Receipt
from secondsite.controller.sites import Sites
from secondsite.errors import NotYet
from secondsite.plan.actions import Command
from secondsite.wire.arguments import Nothing
from secondsite.wire.facts import Operation, OperationState
from secondsite.wire.feed import Changes, Entry, OperationEntry, VMEntry
from secondsite.wire.inventory import VM
from secondsite.wire.operations import Verb

NOW = datetime(2026, 1, 1, tzinfo=UTC)
KEY = ("shop", "chicago")


def page(
    cursor: str, *entries: Entry, whole: bool = False, goes_on: bool = False, more: bool = False, settling: bool = False
) -> Changes:
    """`goes_on`: a whole answer that began with an earlier page."""
    return Changes(
        instance=cursor.partition(".")[0],
        cursor=cursor,
        whole=whole or goes_on,
        begins=whole,
        more=more,
        time=NOW,
        settling=settling,
        entries=entries,
    )


def vm(name: str, revision: int) -> VMEntry:
    return VMEntry(id=name, revision=revision, facts=VM(id=name, name=name, cloud="gold", host="h", state="Running"))


def mirror(*names: str) -> SiteMirror:
    made = SiteMirror(KEY)
    made.take(page("one.9", *(vm(name, place) for place, name in enumerate(names, 1)), whole=True))
    assert made.synced
    return made


def test_half_an_answer_of_another_process_is_not_believed() -> None:
    here = mirror("web", "db")
    here.take(page("two.1.5", vm("web", 1), whole=True, more=True))
    assert not here.synced, "half of what it shows is of a process that has ended"
    here.take(page("two.5", goes_on=True))
    assert (here.synced, set(here.vms)) == (True, {"web"})


def test_a_process_that_settles_says_nothing_for_its_forerunner() -> None:
    here = mirror("web")
    here.take(page("two.0", settling=True))
    assert not here.synced


def test_a_whole_answer_that_begins_anew_forgets_the_names_of_the_one_cut_off() -> None:
    here = mirror("web", "db")
    here.take(page("one.10.20", vm("db", 10), whole=True, more=True))
    here.take(page("one.11.30", vm("web", 11), whole=True))
    assert set(here.vms) == {"web"}


def test_a_receipt_of_a_process_not_met_yet_is_waited_for() -> None:
    sites, receipt = Sites(), Receipt("chicago", "two", 3)
    sites.take(KEY, page("one.9", whole=True))
    assert not sites.reached("shop", receipt)
    sites.take(KEY, page("two.2", whole=True))
    assert not sites.reached("shop", receipt)
    sites.take(KEY, page("two.3"))
    assert sites.reached("shop", receipt)
    sites.take(KEY, page("three.1", whole=True))
    assert sites.reached("shop", receipt), "that process has ended and shows nothing more"


def operation(key: str, state: OperationState, minute: int, attempt: int = 1) -> Operation:
    time = NOW + timedelta(minutes=minute)
    return Operation(
        key=key, verb="Suspend", intent=key, attempt=attempt, state=state, start_time=time, end_time=time, vm_id="web"
    )


def test_an_old_attempt_counts_however_many_operations_followed() -> None:
    here = mirror()
    shown = [operation("wish", "Failed", 0), *(operation(f"k{minute}", "Succeeded", minute) for minute in range(1, 64))]
    here.take(page("one.99", *(OperationEntry(id=op.key, revision=1, facts=op) for op in shown)))
    command = Command("chicago", Verb.SUSPEND, "web", "wish", Nothing())
    assert attempt_of(command, here.operations["web"]) == 2


@pytest.mark.parametrize("state", ["Failed", "Interrupted", "Abandoned"])
def test_whatever_ended_without_success_is_tried_again_after_a_pause(state: OperationState) -> None:
    ran = tuple(operation("wish", state, 0, attempt) for attempt in (1, 2, 3))
    command = Command("chicago", Verb.SUSPEND, "web", "wish", Nothing())
    with pytest.raises(NotYet):
        check_due(command, ran, NOW + timedelta(seconds=3.9))
    check_due(command, ran, NOW + timedelta(seconds=4.1))
