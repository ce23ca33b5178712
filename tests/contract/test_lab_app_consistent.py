"""Application-consistent points of two lab sites: asked of the bytes, of the facts, and of a test VM."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from secondsite.agent.lab.guests import Guest
from secondsite.wire.arguments import CheckTestVM, StartTestFailover, UpdateSettings
from secondsite.wire.facts import Relation
from secondsite.wire.operations import Verb
from secondsite.wire.problems import Refusal
from support.lab import SETTINGS, LabPair, running_pair
from support.lab_centres import WEB
from support.patience import until

# An hour is two seconds, a cycle begins every half second.
HURRY = 1800
HOUR = timedelta(seconds=2)
HOURLY = SETTINGS.model_copy(update={"interval_seconds": 900, "app_consistent_interval_hours": 1})
NEVER = HOURLY.model_copy(update={"app_consistent_interval_hours": 0})


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[LabPair]:
    async with running_pair(tmp_path, hurry=HURRY) as found:
        yield found


def guest(pair: LabPair) -> Guest:
    return pair.source.driver._at.estate.guests[WEB]


async def truths(pair: LabPair) -> list[dict[str, Any]]:
    """What the bytes of each point say, oldest first."""
    found: list[dict[str, Any]] = (await pair.target.ask(ask="truth", vmID=WEB))["points"]
    return found


def quiesced(pair: LabPair) -> int:
    """How many points the target calls application-consistent."""
    store = pair.target.driver._at.estate.replicas.open(WEB)
    return sum(point.consistency == "ApplicationConsistent" for point in store.points())


async def test_every_hour_a_point_of_a_guest_that_stood_still(pair: LabPair) -> None:
    await pair.protect(settings=HOURLY)
    await until(lambda: quiesced(pair) >= 3)
    points = await truths(pair)
    found = [point["journal"] for point in points if point["consistency"] == "ApplicationConsistent"]
    assert len(found) >= 3
    assert set(found) == {"Clean"}
    for before, point in pairwise(points):
        if point["consistency"] == "CrashConsistent" and point["sequence"] > before["sequence"]:
            assert point["journal"] in ("Dirty", "Torn"), "it wrote since it was quiesced last"
    assert [verdict["faults"] for verdict in await pair.replay() if verdict["faults"]] == []
    assert pair.source.relation().health_reasons.count("app-consistent-failed") == 0


async def test_the_facts_say_which_and_never_lose_the_newest(pair: LabPair) -> None:
    await pair.protect(settings=HOURLY)
    await until(lambda: quiesced(pair) >= 2)
    await pair.more_cycles(4)
    facts = [fact for id_, fact in pair.target.sink.history if id_ == WEB and isinstance(fact, Relation)]
    told = [fact.newest_app_consistent_time for fact in facts]
    known = [time for time in told if time is not None]
    assert told[-len(known) :] == known == sorted(known), "it was told once, and then not any more, or it went back"
    distinct = sorted(set(known))
    assert all(later - earlier >= HOUR for earlier, later in pairwise(distinct))
    assert {fact.newest_point.type for fact in facts if fact.newest_point} == {"CrashConsistent", "AppConsistent"}
    assert "AppConsistent" in {point.type for point in await pair.target.driver.points(WEB)}
    detail = await pair.target.driver.detail(WEB)
    assert detail.relation is not None
    newest = [point.source_time for point in detail.points if point.type == "AppConsistent"][-1]
    assert detail.relation.newest_app_consistent_time is not None
    assert detail.relation.newest_app_consistent_time >= newest


async def test_a_test_vm_of_the_latest_application_consistent_point_starts_clean(pair: LabPair) -> None:
    await pair.protect(settings=HOURLY)
    await until(lambda: quiesced(pair) >= 1)
    await pair.source.do(Verb.SUSPEND, WEB)
    wish = StartTestFailover(owner="t", recovery_point="LatestAppConsistent")
    made = await pair.target.do(Verb.START_TEST_FAILOVER, WEB, wish)
    point = pair.target.relation().newest_app_consistent_time
    assert point is not None
    assert (made["recoveryPointType"], made["recoveryPointTime"]) == ("AppConsistent", point.isoformat())
    check = CheckTestVM(owner="t", name="alive", type="Heartbeat", timeout_seconds=1, period_seconds=1)
    answer = await pair.target.do(Verb.CHECK_TEST_VM, WEB, check)
    assert answer["message"].endswith("journal Clean")


async def test_a_guest_that_cannot_be_quiesced_is_replicated_and_said_to_be(pair: LabPair) -> None:
    guest(pair).refuse_quiesce = "VSS_E_WRITERERROR_TIMEOUT"
    await pair.protect(settings=HOURLY)
    await until(lambda: "app-consistent-failed" in pair.source.relation().health_reasons)
    fact = pair.source.relation()
    assert fact.health == "Warning"
    assert "web cannot be quiesced: VSS_E_WRITERERROR_TIMEOUT" in fact.message
    await pair.more_cycles(2)
    assert quiesced(pair) == 0
    assert pair.target.relation().newest_app_consistent_time is None
    assert pair.states() == ("Replicating", "Replicating")
    with pytest.raises(Refusal, match="no recovery point for LatestAppConsistent"):
        await pair.target.do(
            Verb.START_TEST_FAILOVER, WEB, StartTestFailover(owner="t", recovery_point="LatestAppConsistent")
        )
    # The failure is remembered, and the next attempt is made, by a service that was restarted meanwhile.
    await pair.source.restart()
    assert "app-consistent-failed" in pair.source.relation().health_reasons
    await until(lambda: quiesced(pair) >= 1)
    await until(lambda: "app-consistent-failed" not in pair.source.relation().health_reasons)


async def test_reset_statistics_silence_the_warning_until_the_next_attempt(pair: LabPair) -> None:
    guest(pair).refuse_quiesce = "VSS_E_BAD_STATE"
    await pair.protect(settings=HOURLY)
    await until(lambda: "app-consistent-failed" in pair.source.relation().health_reasons)
    await pair.source.do(Verb.SUSPEND, WEB)
    await pair.source.do(Verb.RESET_STATISTICS, WEB)
    assert "app-consistent-failed" not in pair.source.relation().health_reasons
    assert "VSS" not in pair.source.relation().message
    await pair.source.do(Verb.RESUME, WEB)
    await until(lambda: "app-consistent-failed" in pair.source.relation().health_reasons)


async def test_it_is_a_setting_that_changes_without_protecting_anew(pair: LabPair) -> None:
    await pair.protect(settings=NEVER)
    await pair.more_cycles(2)
    assert quiesced(pair) == 0
    for site in (pair.source, pair.target):
        await site.do(Verb.UPDATE_SETTINGS, WEB, UpdateSettings(settings=HOURLY))
    await until(lambda: quiesced(pair) >= 1)
