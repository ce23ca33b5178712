"""What `lab.sock` answers about faults, and how a site stands for whoever looks at it while they bite."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from secondsite.agent.lab.estate import Estate
from secondsite.agent.lab.fault_catalogue import KINDS, find
from secondsite.agent.lab.fault_schedule import Schedule, read_steps
from secondsite.agent.lab.fault_switch import KEY, FaultSwitch
from secondsite.agent.lab.report import Reporter
from secondsite.agent.lab.state import Half


class FaultAnswers:
    """Answers `fault`, `faults` and `halves`."""

    def __init__(self, estate: Estate, reporter: Reporter, switch: FaultSwitch, schedule: Schedule) -> None:
        self._estate = estate
        self._reporter = reporter
        self._switch = switch
        self._schedule = schedule

    def switch(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Switch one on or off, or plan a schedule. Raises SecondsiteError or Refusal."""
        if "schedule" in request:
            steps = read_steps(request["schedule"])
            self._schedule.plan(steps)
            self._estate.rounds.wake(KEY)
            return {"planned": len(steps)}
        fault, vm = find(str(request["fault"])), str(request.get("vmID") or "")
        if request.get("off"):
            return dict(self._switch.switch_off(fault, vm))
        value, seconds = request.get("value"), request.get("seconds")
        return dict(
            self._switch.switch_on(
                fault, vm, None if value is None else float(value), None if seconds is None else float(seconds)
            )
        )

    def faults(self, _request: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """What is on, what is planned, and what there is to choose from."""
        names, now = self._switch.names(), self._estate.faults.true_now()
        return {
            "faults": [
                {
                    "fault": item.fault,
                    "vmID": item.vm_id,
                    "vmName": names.get(item.vm_id, ""),
                    "value": item.value,
                    "secondsLeft": round((item.until - now).total_seconds(), 1) if item.until else None,
                }
                for item in self._estate.faults.all()
            ],
            "planned": [
                {
                    "fault": item.step.fault.value,
                    "vm": item.step.vm,
                    "value": item.step.value,
                    "off": item.step.off,
                    "inSeconds": round(max(0.0, (item.at - now).total_seconds()), 1),
                }
                for item in self._schedule.all()
            ],
            "choices": {
                fault.value: {"does": kind.does, "scope": kind.scope.value, "value": kind.unit}
                for fault, kind in KINDS.items()
            },
        }

    def halves(self) -> dict[str, dict[str, Any]]:
        """Every half as the site reports it, by VM."""
        return {half.vm_id: self._half(half) for half in self._estate.halves.all()}

    def _half(self, half: Half) -> dict[str, Any]:
        fact, now = self._reporter.compute(half.vm_id), self._estate.clock.now()
        if fact is None:
            return {}
        point = fact.newest_point
        return {
            "health": fact.health,
            "reasons": list(fact.health_reasons),
            "message": fact.message,
            "lagSeconds": round((now - point.source_time).total_seconds(), 1) if point else None,
            "pendingBytes": fact.pending_bytes,
            "points": fact.point_count,
            "peer": fact.peer_site,
        }
