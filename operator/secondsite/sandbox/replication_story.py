"""Chapters 3 and 4: the first copy, and replicas that follow at an honest distance."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from secondsite.api.protectedvm import PROTECTED_VM
from secondsite.errors import SecondsiteError
from secondsite.sandbox.eyes import Body, Truth, condition
from secondsite.sandbox.stage import VM, Stage, mebibytes

_PROTECTED_SECONDS = 240.0
_CYCLES = 4
_CYCLES_SECONDS = 120.0
_COMPARE_ATTEMPTS = 5


async def initial_replication(stage: Stage) -> None:
    """Watch until all are Protected."""
    shown: dict[str, str] = {}

    async def protected() -> bool:
        objects = await stage.eyes.objects(PROTECTED_VM)
        await stage.eyes.look()
        stage.vms = tuple(filter(None, (_vm(objects[name]) for name in stage.names)))
        for name, body in objects.items():
            state = f"{body['status'].get('state')}, {condition(body, 'Ready')['reason']}"
            if shown.get(name) != state:
                shown[name] = state
                stage.show.say(f"{name}: {state}")
        stage.show.progress("copied: " + "   ".join(_copied(stage, vm) for vm in stage.vms), every=2.0)
        return all(condition(body, "Protected")["status"] == "True" for body in objects.values())

    took = await stage.until(protected, "all VMs become Protected", _PROTECTED_SECONDS, every=0.5)
    total = sum((half.initial_total_bytes or 0) for vm in stage.vms if (half := stage.primary(vm)))
    stage.verdict.add(
        f"All {len(stage.names)} VMs become Protected by what the manifests say",
        f"{len(stage.vms)} of {len(stage.names)} after {took:.1f} s, {mebibytes(total)} copied at first",
        held=len(stage.vms) == len(stage.names),
    )
    stage.verdict.figures.append(("manifests and agents to all Protected", f"{took:.1f} s"))


async def honest_lag(stage: Stage) -> None:
    """Let the guests write through several cycles, and hold what is reported against the truth."""
    await stage.eyes.look()
    began = {vm.name: _cycles(stage, vm) for vm in stage.vms}
    surplus: list[float] = []

    async def enough() -> bool:
        lines = await _sample(stage, surplus)
        await stage.eyes.look()
        stage.show.progress("lag reported (true): " + "   ".join(lines), every=3.0)
        return all(_cycles(stage, vm) >= began[vm.name] + _CYCLES for vm in stage.vms)

    took = await stage.until(enough, f"every VM completes {_CYCLES} delta cycles", _CYCLES_SECONDS, every=0.7)
    stage.show.say(f"{_CYCLES} delta cycles and more of each VM in {took:.1f} s")
    worst = min(surplus, default=-1.0)
    stage.verdict.add(
        "The reported lag is never smaller than the true one",
        f"{len(surplus)} samples; reported minus true: {worst:.2f} to {max(surplus, default=0.0):.2f} s",
        held=worst >= 0,
    )


async def identical(stage: Stage, when: str) -> None:
    """Compare the newest points byte by byte with the replay of the guests' writes."""
    writes, faults = [], []
    for vm in stage.vms:
        stage.show.progress(f"comparing each byte of the newest recovery point: {vm.name}")
        answer = await _replay(stage, vm)
        writes.append(f"{vm.name} at write {answer['sequence']}")
        faults += [f"{vm.name}: {fault}" for fault in answer["faults"]]
    stage.show.say(f"compared: {', '.join(writes)}: {'identical' if not faults else '; '.join(faults)}")
    stage.verdict.add(
        f"{when}, each recovery point is byte-identical to the source at its freeze",
        ", ".join(writes) if not faults else "; ".join(faults)[:300],
        held=not faults,
    )


async def _replay(stage: Stage, vm: VM) -> Body:
    """A point may be merged into another while it is read: then the next one is taken."""
    source = str(stage.world.site_file(vm.source).absolute())
    for attempt in range(_COMPARE_ATTEMPTS):
        point = (await stage.eyes.truth(vm.source, vm.target, vm.id)).point
        try:
            return await stage.eyes.ask(vm.target, {"ask": "replay", "vmID": vm.id, "disks": source, "point": point})
        except SecondsiteError:
            if attempt == _COMPARE_ATTEMPTS - 1:
                raise
            await asyncio.sleep(0)
    raise AssertionError("not reached")


async def _sample(stage: Stage, surplus: list[float]) -> list[str]:
    """Reported and true lag of each VM at one instant. The truth is asked before and after, and must be the same."""
    before = await _truths(stage)
    metrics = await stage.eyes.metrics()
    after = await _truths(stage)
    now, lines = datetime.now(UTC), []
    for vm in stage.vms:
        reported, truth = metrics.point_time(vm.name), after[vm.name]
        if reported is None or not _same(before[vm.name], truth):
            lines.append(f"{vm.name} -")
            continue
        lag = (now - reported).total_seconds()
        true = 0.0 if truth.missing_since is None else (now - truth.missing_since).total_seconds()
        surplus.append(lag - true)
        lines.append(f"{vm.name} {lag:.1f} s ({true:.1f} s)")
    return lines


async def _truths(stage: Stage) -> dict[str, Truth]:
    return {vm.name: await stage.eyes.truth(vm.source, vm.target, vm.id) for vm in stage.vms}


def _same(before: Truth, after: Truth) -> bool:
    return before.point == after.point and (before.missing_since or after.missing_since) == after.missing_since


def _vm(body: Body) -> VM | None:
    status = body.get("status", {})
    if "vmID" not in status or "replicaSite" not in status:
        return None
    return VM(body["metadata"]["name"], status["vmID"], body["spec"]["vm"]["siteRef"]["name"], status["replicaSite"])


def _cycles(stage: Stage, vm: VM) -> int:
    half = stage.primary(vm)
    return half.cycles if half else 0


def _copied(stage: Stage, vm: VM) -> str:
    half = stage.primary(vm)
    if half is None or not half.initial_total_bytes:
        return f"{vm.name} waits"
    sent = half.initial_sent_bytes or 0
    rate = f" {mebibytes(half.bytes_per_second)}/s" if half.bytes_per_second else ""
    return f"{vm.name} {100 * sent // half.initial_total_bytes} % ({mebibytes(sent)}{rate})"
