"""What `lab.sock` answers: computed from the guests' disks and from the points' bytes, never from what is reported."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from secondsite.agent.lab import datacentre
from secondsite.agent.lab.engine import RecoveryPoint, UnknownPoint
from secondsite.agent.lab.estate import Estate
from secondsite.agent.lab.fault_answers import FaultAnswers
from secondsite.agent.lab.faults import Fault
from secondsite.agent.lab.guest_disks import disk_ids
from secondsite.agent.lab.guest_journal import JournalState, read_journal
from secondsite.agent.lab.guests import Guest
from secondsite.agent.lab.host_log import Record as HostEvent
from secondsite.agent.lab.layout import Record
from secondsite.agent.lab.replica import ReplicaStore
from secondsite.agent.lab.truth import Evidence, Read, newest_record, replay

Found = tuple[int, int, JournalState]
_EVENTS = 30


class Answers:
    """Answers requests by their `ask`."""

    def __init__(self, estate: Estate, faults: FaultAnswers) -> None:
        self._estate = estate
        self._faults = faults
        # A point never changes, and reading its log costs a megabyte of verified blocks.
        self._known: dict[str, dict[str, Found]] = {}

    def __call__(self, request: dict[str, Any]) -> dict[str, Any]:
        known = {
            "status": self._status,
            "truth": self._truth,
            "replay": self._replay,
            "crash": self._crash,
            "fault": self._faults.switch,
            "faults": self._faults.faults,
        }
        if request.get("ask") not in known:
            raise ValueError(f"ask one of {', '.join(known)}")
        return known[request["ask"]](request)

    def _status(self, _request: dict[str, Any]) -> dict[str, Any]:
        reported = self._faults.halves()
        status = {
            "site": self._estate.context.site,
            "hurry": self._estate.clock.hurry,
            "guests": {vm_id: _record(guest.newest) for vm_id, guest in self._running().items()},
            "halves": {
                half.vm_id: {
                    "name": half.vm_name,
                    "side": half.side,
                    "state": half.state,
                    "cycles": half.cycles,
                    "heldBytes": self._held(half.vm_id),
                }
                | reported.get(half.vm_id, {})
                for half in self._estate.halves.all()
            },
            "settled": self._estate.faults.on(Fault.VMMS_RESTART) is None,
            "events": [_event(record) for record in self._estate.halves.host_log.newest(_EVENTS)],
        }
        return status | self._faults.faults()

    def _held(self, vm_id: str) -> int:
        """At the target: bytes of the cycle that is coming in which are durable."""
        store = self._estate.replicas.get(vm_id)
        return store.store.received_bytes if store else 0

    def _truth(self, request: dict[str, Any]) -> dict[str, Any]:
        vm_id = str(request["vmID"])
        guest, store = self._running().get(vm_id), self._estate.replicas.get(vm_id)
        if guest:
            points = {"points": self._point_truths(vm_id, store)} if store else {}
            return _guest_truth(guest, vm_id, request.get("sequence")) | points
        if store is None:
            raise ValueError(f"neither VM {vm_id} nor a replica of it is here")
        return {"vmID": vm_id, "role": "Target", "points": self._point_truths(vm_id, store)}

    def _point_truths(self, vm_id: str, store: ReplicaStore) -> list[dict[str, Any]]:
        found, known = [], self._known.get(vm_id, {})
        points = store.points()
        self._known[vm_id] = known = {point.id: known[point.id] for point in points if point.id in known}
        for point in points:
            try:
                sequence, time_ns, journal = _newest(known, store, point)
            except UnknownPoint:
                continue
            found.append(
                {
                    "id": point.id,
                    "sourceTime": point.freeze_time.isoformat(),
                    "sequence": sequence,
                    "time": _time(time_ns) if sequence else None,
                    "consistency": point.consistency,
                    "journal": journal,
                }
            )
        return found

    def _replay(self, request: dict[str, Any]) -> dict[str, Any]:
        vm_id, point = str(request["vmID"]), str(request.get("point", ""))
        machine = datacentre.load(Path(str(request["disks"]))).machine(vm_id)
        guest = self._running().get(vm_id)
        if machine and guest and not point:
            with guest.paused():
                evidence = replay(machine, disk_ids(machine), guest.readers)
            return {"vmID": vm_id, "point": "", **_evidence(evidence)}
        store = self._estate.replicas.get(vm_id)
        if machine is None or store is None:
            raise ValueError(f"VM {vm_id} is not in that file, or has no replica here")
        readers = {name: _reader(store, point, name) for name in store.store.disks_at(point)}
        evidence = replay(machine, disk_ids(machine), readers)
        return {"vmID": vm_id, "point": point, **_evidence(evidence)}

    def _running(self) -> dict[str, Guest]:
        """The site's own VMs, and replicas that were failed over and are on."""
        return self._estate.guests | self._estate.recovered.guests

    def _crash(self, request: dict[str, Any]) -> dict[str, Any]:
        primary = self._estate.primaries[str(request["vmID"])]
        with primary.quiet():
            primary.distrust()
        return {}


def _newest(known: dict[str, Found], store: ReplicaStore, point: RecoveryPoint) -> Found:
    """Number and time of the newest write in a point, and what its journal says."""
    if point.id not in known:
        reader = _reader(store, point.id, min(store.store.disks))
        record = newest_record(reader)
        journal = read_journal(reader).state
        known[point.id] = (record.sequence, record.time_ns, journal) if record else (0, 0, journal)
    return known[point.id]


def _guest_truth(guest: Guest, vm_id: str, sequence: object) -> dict[str, Any]:
    found: dict[str, Any] = {"vmID": vm_id, "role": "Source", "newest": _record(guest.newest)}
    if isinstance(sequence, int):
        found["record"] = _record(guest.record(sequence))
    return found


def _reader(store: ReplicaStore, point: str, disk: str) -> Read:
    return lambda offset, length: store.store.read_point(point, disk, offset, length)


def _event(record: HostEvent) -> dict[str, Any]:
    return {"time": record.time.isoformat(), "id": record.id, "vmName": record.vm_name, "text": record.text}


def _evidence(evidence: Evidence) -> dict[str, Any]:
    return {
        "sequence": evidence.sequence,
        "identical": not evidence.faults,
        "faults": list(evidence.faults),
        "journal": evidence.journal,
    }


def _record(record: Record | None) -> dict[str, Any] | None:
    return {"sequence": record.sequence, "time": _time(record.time_ns)} if record else None


def _time(time_ns: int) -> str:
    return datetime.fromtimestamp(time_ns / 1e9, UTC).isoformat()
