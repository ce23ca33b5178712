"""Whether recovery points hold what the source held: computed from the guests' own records, whoever reports what."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from support import stack_centres as centres
from support.stack import Stack
from support.stack_centres import SOURCE, TARGET


def faults_of_points(stack: Stack, number: int) -> tuple[int, list[str]]:
    """How many points of a VM the target retains, and what is wrong with them: byte by byte, and with their time."""
    id_, target = centres.vm_id(number), stack.site(TARGET)
    points = target.points(id_)
    faults = []
    for point in points:
        replay = target.ask(ask="replay", vmID=id_, point=point["id"], disks=str(stack.folder / f"{SOURCE}.yaml"))
        faults += [f"{id_} point {point['id']} (write {replay['sequence']}): {fault}" for fault in replay["faults"]]
        faults += _faults_of_time(stack, id_, point)
    return len(points), faults


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
