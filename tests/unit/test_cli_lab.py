"""`secondsite lab` against a real socket: what is asked of the agent, and what people read."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from secondsite.agent.lab.fault_catalogue import KINDS, Scope
from secondsite.agent.lab.faults import Fault
from secondsite.agent.lab.socket import NAME, LabSocket
from secondsite.cli.main import main
from secondsite.errors import SecondsiteError

STATUS = {
    "site": "west",
    "hurry": 60.0,
    "settled": False,
    "guests": {},
    "halves": {
        "1": {
            "name": "web",
            "side": "Replica",
            "peer": "east",
            "state": "Replicating",
            "health": "Critical",
            "reasons": ["out-of-space"],
            "message": "[Errno 28] The volume of the replica is full",
            "lagSeconds": 300.0,
            "points": 7,
            "pendingBytes": 0,
        }
    },
    "faults": [{"fault": "ReplicaDiskFull", "vmID": "1", "vmName": "web", "value": None, "secondsLeft": 12.5}],
    "planned": [{"fault": "LinkDown", "vm": "", "value": None, "off": False, "inSeconds": 30.0}],
    "events": [{"time": "2026-01-02T03:04:05+00:00", "id": 32022, "vmName": "web", "text": "failed: [Errno 101]"}],
}


class Site:
    """Answers as an agent would, and notes what was asked."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []

    def __call__(self, request: dict[str, Any]) -> dict[str, Any]:
        self.asked.append(request)
        if request["ask"] == "status":
            return STATUS
        if request["ask"] == "faults":
            return {"choices": {f.value: {"does": k.does, "scope": k.scope, "value": k.unit} for f, k in KINDS.items()}}
        if "schedule" in request:
            return {"planned": len(request["schedule"])}
        if request["fault"] not in set(Fault):
            raise SecondsiteError(f"There is no fault {request['fault']}", f"Choose one of {', '.join(Fault)}.")
        return {"fault": request["fault"], "vmID": request["vmID"]}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    found = Site()
    socket = LabSocket(tmp_path, found)
    socket.start()
    yield found
    socket.stop()


def lab(tmp_path: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["lab", arguments[0], "--data", str(tmp_path), *arguments[1:]])


def test_a_fault_is_asked_for_with_vm_value_and_seconds(site: Site, tmp_path: Path) -> None:
    done = lab(tmp_path, "fault", "LinkSlow", "--vm", "web", "--value", "4096", "--for", "2m")
    assert done.exit_code == 0, done.output
    assert site.asked == [
        {"ask": "fault", "fault": "LinkSlow", "vmID": "web", "value": 4096.0, "off": False, "seconds": 120.0}
    ]
    assert done.output == "LinkSlow on: VM web\n"
    assert lab(tmp_path, "fault", "LinkSlow", "--off").output == "LinkSlow off\n"
    assert site.asked[-1]["off"] is True


def test_without_a_name_every_fault_is_told_with_what_it_does(site: Site, tmp_path: Path) -> None:
    told = lab(tmp_path, "fault").output
    assert site.asked == [{"ask": "faults"}]
    for fault, kind in KINDS.items():
        assert fault.value in told
        assert kind.does in told


def test_a_wrong_name_is_refused_with_the_choices(site: Site, tmp_path: Path) -> None:
    done = lab(tmp_path, "fault", "LinkDwon")
    assert done.exit_code == 1
    assert "There is no fault LinkDwon" in done.output
    assert "VSSFailing" in done.output
    assert len(site.asked) == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(["LinkDown", "--for", "soon"], "30s, 5m or 1h"), (["LinkDown", "--value", "much"], "not a valid float")],
)
def test_what_is_no_duration_or_number_is_refused_before_anything_is_asked(
    site: Site, tmp_path: Path, arguments: list[str], words: str
) -> None:
    done = lab(tmp_path, "fault", *arguments)
    assert done.exit_code != 0
    assert words in done.output
    assert site.asked == []


def test_a_schedule_is_handed_to_the_agent(site: Site, tmp_path: Path) -> None:
    file = tmp_path / "faults.yaml"
    file.write_text("faults:\n- {after: 10s, fault: LinkDown, for: 5s}\n- {after: 1m, fault: HostCrash, vm: web}\n")
    done = lab(tmp_path, "fault", "--schedule", str(file))
    assert done.output.startswith("2 steps planned")
    assert [step["fault"] for step in site.asked[0]["schedule"]] == ["LinkDown", "HostCrash"]
    assert lab(tmp_path, "fault", "LinkDown", "--schedule", str(file)).exit_code == 2
    file.write_text("just: this")
    assert "no list of steps" in lab(tmp_path, "fault", "--schedule", str(file)).output


def test_the_status_tells_relations_faults_and_events(site: Site, tmp_path: Path) -> None:
    told = lab(tmp_path, "status").output
    for words in ("Site west", "hurries by 60", "restarts", "web", "Replica", "Critical", "5.0 min", "out-of-space"):
        assert words in told
    assert "[Errno 28] The volume of the replica is full" in told
    assert "ReplicaDiskFull is on, for VM web, for another 12.5 s" in told
    assert "In 30.0 s: LinkDown on" in told
    assert "32022" in told
    assert "failed: [Errno 101]" in told
    assert json.loads(lab(tmp_path, "status", "--output", "json").output) == STATUS
    assert [request["ask"] for request in site.asked] == ["status", "status"]


def test_nobody_but_the_user_may_open_the_socket(site: Site, tmp_path: Path) -> None:
    assert stat.S_IMODE((tmp_path / NAME).stat().st_mode) == 0o600
    assert site.asked == []


def test_where_no_agent_runs_that_is_said(tmp_path: Path) -> None:
    done = lab(tmp_path, "status")
    assert done.exit_code == 1
    assert "See that the agent runs" in done.output


def test_the_documentation_has_a_row_for_each_fault() -> None:
    page = Path(__file__).parents[2] / "docs" / "how-to" / "break-the-lab.md"
    rows = [line.split(" | ") for line in page.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    told = {row[0].strip("| `"): row for row in rows}
    assert set(told) == {fault.value for fault in Fault}
    for fault, kind in KINDS.items():
        vm = {Scope.SITE: "no", Scope.VM: "yes", Scope.EITHER: "may"}[kind.scope]
        assert told[fault.value][2] == vm, fault
        assert (told[fault.value][3].strip() != "-") == bool(kind.unit), fault
