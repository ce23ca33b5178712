"""Whether recovery points hold what the source held: computed from the guests' own records, whoever reports what."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from secondsite.errors import SecondsiteError
from support import stack_centres as centres
from support.stack import Stack
from support.stack_centres import SOURCE, TARGET


def faults_of_points(stack: Stack, number: int) -> tuple[int, list[str]]:
    """How many points of a VM the target retains, and what is wrong with them: byte by byte, and with their time."""
    id_, examined = centres.vm_id(number), 0
    faults = []
    for point in stack.site(TARGET).points(id_):
        replay = _replay(stack, id_, point["id"])
        if replay is not None:
            examined += 1
            faults += [f"{id_} point {point['id']} (write {replay['sequence']}): {fault}" for fault in replay["faults"]]
            faults += _faults_of_time(stack, id_, point)
    return examined, faults


def _replay(stack: Stack, id_: str, point: str) -> dict[str, Any] | None:
    """What the point holds, or None where retention merged it away since it was listed: replication goes on."""
    target = stack.site(TARGET)
    try:
        return target.ask(ask="replay", vmID=id_, point=point, disks=str(stack.folder / f"{SOURCE}.yaml"))
    except SecondsiteError:
        if any(listed["id"] == point for listed in target.points(id_)):
            raise
        return None


def _faults_of_time(stack: Stack, id_: str, point: dict[str, Any]) -> list[str]:
    """A point of the instant t holds the writes before t. The one after them may have waited for the freeze's end."""
    freeze, newest = datetime.fromisoformat(point["sourceTime"]), int(point["sequence"])
    before, after = _made(stack, id_, newest), _made(stack, id_, newest + 2)
    faults = []
    if before is not None and before > freeze:
        faults.append(f"{id_} point of {freeze} holds write {newest} of {before}")
    if after is not None and after < freeze:
        faults.append(f"{id_} point of {freeze} lacks write {newest + 2} of {after}")
    return faults


def _made(stack: Stack, id_: str, sequence: int) -> datetime | None:
    if sequence <= 0:
        return None
    record = stack.site(SOURCE).ask(ask="truth", vmID=id_, sequence=sequence)["record"]
    return datetime.fromisoformat(record["time"]) if record else None
