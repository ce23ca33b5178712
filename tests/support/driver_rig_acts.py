"""One verb with everything that the contract promises of it, and a look at what must not change."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec

from secondsite.wire.base import Message
from secondsite.wire.facts import Ledger, Operation, Relation
from secondsite.wire.operations import OperationAnswer, OperationRequest, Verb
from secondsite.wire.problems import Code
from support.driver_rig_site import FENCE, Refused, RigSite, codes, key_of, until
from support.driver_rig_vm import OWNER, Member

_NEVER = datetime(2020, 1, 1, tzinfo=UTC)
_LOOKS = frozenset({Verb.CHECK_TEST_VM})
# What moves by itself while nobody commands.
_MOVING = (
    "time",
    "health",
    "health_reasons",
    "message",
    "last_replication_time",
    "last_applied_time",
    "last_cycle_seconds",
    "newest_point",
    "point_count",
    "oldest_point_time",
    "newest_app_consistent_time",
    "pending_bytes",
    "initial_total_bytes",
    "initial_sent_bytes",
    "bytes_per_second",
    "cycles",
    "resynchronize_percent",
    "seconds_outside_rpo",
)


async def act(vm: Member, site: RigSite, verb: Verb, *after: str, told: Message | None = None) -> OperationAnswer:
    """Carry a verb out at a site, whose half is in one of the states `after` then; hold the agent to its promises."""
    before, begun = await site.ledger(vm.id), (await site.info()).operations_begun
    state = await site.state(vm.id)
    request = vm.wish(verb, told, expects=(state,), request=vm.request(verb.value))
    await _wrong_expectation(site, request)
    answer = await site.run(key_of(request), request)
    assert answer.state == "Succeeded", (verb, answer)
    await _same_key(site, request, answer)
    assert (await site.info()).operations_begun == begun + 1
    await _told_in_the_feed(site, request)
    await _books(vm, site, request, before)
    assert await site.state(vm.id) in after, verb
    await _again(vm, site, request, after)
    return answer


async def _wrong_expectation(site: RigSite, request: OperationRequest) -> None:
    """A conflict, and nothing begins."""
    wrong = request.model_copy(update={"expects": ("Unknown",)})
    assert await codes([site.put(key_of(wrong), wrong)]) == [Code.STATE_CONFLICT]
    assert await codes([site.get(key_of(wrong))]) == [Code.NOT_FOUND]


async def _same_key(site: RigSite, request: OperationRequest, answer: OperationAnswer) -> None:
    """The first answer, whatever has become of the VM; another body is refused."""
    moved = {"instance": answer.instance, "revision": answer.revision}
    for again in (await site.put(key_of(request), request), await site.get(key_of(request))):
        assert again.model_copy(update=moved) == answer
    other = request.model_copy(update={"intent": f"{request.intent}-other"})
    assert await codes([site.put(key_of(request), other)]) == [Code.KEY_REUSED]


async def _told_in_the_feed(site: RigSite, request: OperationRequest) -> None:
    fact = await site.operation(key_of(request))
    assert fact is not None
    assert (fact.verb, fact.state, fact.percent) == (request.verb, "Succeeded", 100)
    assert (fact.intent, fact.attempt, fact.term) == (request.intent, 1, FENCE.term)
    assert request.request is not None
    assert (fact.request_name, fact.request_token) == (request.request.name, request.request.token)
    assert fact.end_time is not None
    assert fact.end_time >= fact.start_time
    detail = await site.detail(request.vm_id)
    # A VM of which the site holds nothing is not found there, whatever was done for it.
    assert fact in detail.operations or not (detail.vm or detail.relation)


async def _books(vm: Member, site: RigSite, request: OperationRequest, before: Ledger) -> None:
    """The site's ledger, and the relation where it has one."""
    after = await site.ledger(vm.id)
    assert after.changes == before.changes + (request.verb not in _LOOKS)
    assert after.epoch == max(before.epoch, request.epoch)
    assert request.request is not None
    assert (request.request.name, request.request.token) in after.served_requests
    relation = await site.relation(vm.id)
    if relation is not None:
        assert (relation.changes, relation.epoch) == (after.changes, after.epoch)
        assert relation.served_requests == after.served_requests
        assert relation.owner is not None
        assert (relation.owner.vault, relation.owner.control_plane) == (OWNER.vault, OWNER.control_plane)


async def _again(vm: Member, site: RigSite, request: OperationRequest, after: tuple[str, ...]) -> None:
    """As after an unknown outcome: the next attempt succeeds, or is a conflict; either way it stays as it is."""
    second = request.model_copy(update={"attempt": 2, "expects": ()})
    answer = await site.run(key_of(second), second)
    assert answer.state == "Succeeded" or answer.code == Code.STATE_CONFLICT, answer
    assert await site.state(vm.id) in after, request.verb


async def refusal(vm: Member, site: RigSite, verb: Verb, told: Message | None = None) -> str:
    """The code with which a verb is refused, before or after it began; empty where it was carried out."""
    try:
        return (await vm.run(site, verb, told)).code
    except Refused as refused:
        return refused.problem.code


@dataclass(frozen=True)
class Sight:
    """What a VM looks like at both sites but for what moves by itself."""

    relations: tuple[Relation | None, ...]
    machines: tuple[Any, ...]
    changes: tuple[int, ...]


async def look(vm: Member) -> Sight:
    """Both sites."""
    details = [await site.detail(vm.id) for site in vm.rig.sites]
    changes = [(await site.ledger(vm.id)).changes for site in vm.rig.sites]
    machines = [msgspec.structs.replace(d.vm, disks=()) if d.vm else None for d in details]
    return Sight(tuple(_still(d.relation) for d in details), tuple(machines), tuple(changes))


def _still(relation: Relation | None) -> Relation | None:
    if relation is None:
        return None
    defaults = {field.name: field.default for field in msgspec.structs.fields(Relation) if field.name in _MOVING}
    defaults |= {"time": _NEVER, "health": "NotApplicable"}
    return msgspec.structs.replace(relation, **defaults)


async def progress(site: RigSite, key: str, seconds: float) -> Operation:
    """The operation as soon as it tells how it goes."""

    async def told() -> Operation | None:
        fact = await site.operation(key)
        return fact if fact and fact.state == "Running" and (fact.message or fact.percent is not None) else None

    return await until(told, seconds, f"progress of {key}")
