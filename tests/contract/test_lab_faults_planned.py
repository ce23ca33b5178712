"""Faults by schedule: who planned them is gone, the agent plays them, over restarts; and what is refused."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from secondsite.agent.lab.clock import utc_now
from secondsite.agent.lab.fault_catalogue import KINDS, Scope
from secondsite.agent.lab.fault_schedule import Schedule, read_steps
from secondsite.agent.lab.faults import Fault
from secondsite.agent.lab.socket import NAME
from secondsite.agent.lab.state import Document, Documents
from secondsite.errors import SecondsiteError
from support.lab import LabPair, LabSite, make_pair, running_pair
from support.lab_centres import WEB, source_centre
from support.patience import until


async def on(site: LabSite) -> list[str]:
    return [fault["fault"] for fault in (await site.ask(ask="faults"))["faults"]]


async def test_planned_faults_begin_and_end_by_themselves_over_a_restart(tmp_path: Path) -> None:
    async with running_pair(tmp_path) as pair:
        steps = [
            {"after": "600ms", "fault": "LinkDown", "for": "1s"},
            {"after": 0, "fault": "VSSFailing", "vm": "web"},
            {"after": 1, "fault": "VSSFailing", "vm": WEB, "off": True},
        ]
        assert (await pair.source.ask(ask="fault", schedule=steps))["planned"] == 3
        await pair.source.restart()
        driver = pair.source.driver
        assert driver._site is not None
        faults = driver._site.estate.faults
        await until(lambda: faults.on(Fault.VSS_FAILING, WEB) is not None)
        await until(lambda: faults.on(Fault.LINK_DOWN) is not None)
        await until(lambda: faults.all() == [])
        assert (await pair.source.ask(ask="faults"))["planned"] == []


async def test_a_data_centre_file_plans_its_faults_once(tmp_path: Path) -> None:
    centre = source_centre() | {"faults": [{"after": "0s", "fault": "ClockSkew", "value": 5}]}
    pair = make_pair(tmp_path, source=centre)
    await pair.source.start()
    await until(lambda: skewed(pair))
    await pair.source.ask(ask="fault", fault="ClockSkew", off=True)
    await pair.source.restart()
    answer = await pair.source.ask(ask="faults")
    assert (answer["faults"], answer["planned"]) == ([], [])
    await pair.source.driver.stop()


def skewed(pair: LabPair) -> bool:
    site = pair.source.driver._site
    return site is not None and site.estate.faults.on(Fault.CLOCK_SKEW) is not None


def test_what_a_file_plans_is_planned_once_although_the_agent_died_over_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    documents = Documents(tmp_path / "lab.db")
    schedule = Schedule(documents, utc_now)
    content: list[dict[str, Any]] = [
        {"after": "1h", "fault": "ClockSkew", "value": 5},
        {"after": "2h", "fault": "LinkDown"},
    ]
    put = documents.put

    def die(id_: str, document: Document) -> None:
        if id_ == "file":
            raise OSError("killed")
        put(id_, document)

    with monkeypatch.context() as patch:
        patch.setattr(documents, "put", die)
        with pytest.raises(OSError, match="killed"):
            schedule.plan_once(content)
    schedule.plan_once(content)
    schedule.plan_once(content)
    assert [item.step.fault for item in schedule.all()] == ["ClockSkew", "LinkDown"]
    documents.close()


async def test_what_is_no_request_at_all_is_answered_too(tmp_path: Path) -> None:
    async with running_pair(tmp_path) as pair:
        place = pair.source.data / NAME
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.connect(str(place))
            connection.sendall(b"[" * 60000 + b"\n")
            assert "error" in json.loads(connection.makefile("rb").readline())


def test_a_data_centre_file_that_plans_what_there_is_not_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SecondsiteError, match="Step 1 of the schedule: There is no fault LinkDwon"):
        make_pair(tmp_path, source=source_centre() | {"faults": [{"fault": "LinkDwon"}]})


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"fault": "Nonsense"}, "Choose one of LinkDown"),
        ({"fault": "LinkDown", "vmID": "web"}, "of the whole site"),
        ({"fault": "VMMoved"}, "of one VM"),
        ({"fault": "LinkDown", "value": 3}, "takes no value"),
        ({"fault": "LinkLossy", "value": 101}, "It takes 1 to 100"),
        ({"fault": "VSSFailing", "vmID": "nobody"}, "Its VMs: db, legacy, web"),
        ({"fault": "ReplicaDiskFull", "vmID": "web"}, "Set it at the replica's site"),
        ({"fault": "HostCrash", "vmID": "web"}, "Set it at the source's site"),
        ({"fault": "LinkDown", "seconds": 1e15}, "cannot be of 1e\\+15 seconds"),
        ({"fault": "LinkDown", "seconds": float("nan")}, "cannot be of nan seconds"),
        ({"schedule": "soon"}, "is a list"),
        ({"schedule": [{"fault": "LinkDown", "after": "99999999999h"}]}, "Step 1 of the schedule: A fault cannot be"),
        ({"schedule": [{"after": "1s"}]}, "Step 1"),
        ({"schedule": [{"fault": "LinkDown", "when": "1s"}]}, "when: no such field"),
    ],
)
async def test_what_cannot_be_broken_is_refused_with_what_can(
    tmp_path: Path, request_: dict[str, Any], words: str
) -> None:
    pair = make_pair(tmp_path)
    await pair.source.start()
    with pytest.raises(SecondsiteError, match=words):
        await pair.source.ask(ask="fault", **request_)
    assert await on(pair.source) == []
    await pair.source.driver.stop()


async def test_a_pause_that_cannot_last_so_long_leaves_the_replica_as_it_is(tmp_path: Path) -> None:
    async with running_pair(tmp_path) as pair:
        await pair.protect()
        with pytest.raises(SecondsiteError, match="It takes 0 to"):
            await pair.target.ask(ask="fault", fault="ReplicaPaused", vmID=WEB, seconds=1e15)
        assert pair.target.driver.state(WEB) == "Replicating"


def test_every_fault_is_described() -> None:
    assert set(KINDS) == set(Fault)
    for fault, kind in KINDS.items():
        assert kind.does[0].isupper(), fault
        assert isinstance(kind.scope, Scope)
        assert bool(kind.unit) == (kind.most > kind.least), fault


def test_durations_are_read_as_people_write_them() -> None:
    steps = read_steps({"faults": [{"fault": "linkdown", "after": text} for text in ("5", "500ms", "2m", "1.5h")]})
    assert [step.after for step in steps] == [5.0, 0.5, 120.0, 5400.0]
    assert {step.fault for step in steps} == {Fault.LINK_DOWN}
