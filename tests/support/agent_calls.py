"""Commands to an agent's listener, waited for at its feed."""

from __future__ import annotations

from secondsite.wire.facts import Operation
from secondsite.wire.operations import OperationRequest
from secondsite.wire.problems import STATUS, Code
from support.agents import Answer, Caller

ENABLE = {
    "association": "a",
    "peerSite": "newyork",
    "owner": {"vault": "v", "controlPlane": "cluster-1"},
    "endpoint": {"host": "h", "address": "127.0.0.1", "port": 8084},
    "settings": {"intervalSeconds": 30, "rpoTargetSeconds": 90},
    "disks": [],
}


async def start(operator: Caller, key: str, request: OperationRequest) -> Answer:
    return await operator.put(f"/v1/operations/{key}", request)


async def ended(operator: Caller, key: str) -> Answer:
    """How it ended. Waits at the feed, as an operator does."""
    page = await operator.changes()
    while not any(isinstance(e.facts, Operation) and e.id == key and e.facts.end_time for e in page.entries):
        page = await operator.changes(page.cursor, 10)
    return await operator.get(f"/v1/operations/{key}")


async def finish(operator: Caller, key: str, request: OperationRequest) -> Answer:
    """Begin it and wait for its end: quick verbs answer with it at once, but no test may count on the time."""
    answer = await start(operator, key, request)
    assert answer.status == 200, answer.body
    return await ended(operator, key)


def refused(answer: Answer, code: Code) -> None:
    assert (answer.code, answer.status) == (code, STATUS[code]), answer.body
    assert answer.json["detail"]
