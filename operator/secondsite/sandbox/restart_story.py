"""Chapter 5: the operator is killed, and finds out again from the sites what is true."""

from __future__ import annotations

import time
from collections import Counter

from secondsite.sandbox.stage import Stage

_RESTART_SECONDS = 60.0


async def survive_sigkill(stage: Stage) -> None:
    """SIGKILL the operator; what it started is neither forgotten nor begun again."""
    begun = await stage.eyes.begun()
    former = stage.world.operator.kill()
    killed = time.monotonic()
    stage.show.say(f"operator (process {former}) killed with SIGKILL; the supervisor starts it again")
    led = await _leads(stage, killed)
    verified = await _verified(stage, killed)
    stage.verdict.add(
        "After SIGKILL the operator verifies every object again",
        f"0 unverified {verified:.1f} s after the kill, {verified - led:.1f} s after it took the Lease",
        held=True,
    )
    stage.verdict.figures.append(("operator killed to everything verified", f"{verified:.1f} s"))
    stage.verdict.figures.append(("  of that from the Lease to everything verified", f"{verified - led:.1f} s"))
    await _one_more_cycle(stage)
    await _nothing_twice(stage, begun)


async def _leads(stage: Stage, killed: float) -> float:
    async def leading() -> bool:
        stage.show.progress("waiting for the Lease of the killed one to run out (6 s)")
        metrics = await stage.metrics()
        return bool(metrics and metrics.get("secondsite_operator_leader"))

    await stage.until(leading, "the restarted operator takes the Lease", _RESTART_SECONDS, every=0.1)
    stage.show.say(f"process {stage.world.operator.pid} holds the Lease")
    return time.monotonic() - killed


async def _verified(stage: Stage, killed: float) -> float:
    async def everything() -> bool:
        metrics = await stage.metrics()
        left = metrics.get("secondsite_operator_unverified_objects") if metrics else None
        stage.show.progress(f"objects not verified yet: {'?' if left is None else int(left)}")
        return left == 0

    await stage.until(everything, "secondsite_operator_unverified_objects reaches 0", _RESTART_SECONDS, every=0.1)
    stage.show.say("every object was verified against what the sites say")
    return time.monotonic() - killed


async def _one_more_cycle(stage: Stage) -> None:
    """Time enough for a command that should not come."""
    await stage.eyes.look()
    before = {vm.name: half.cycles for vm in stage.vms if (half := stage.primary(vm))}

    async def gone_on() -> bool:
        await stage.eyes.look()
        return all((half := stage.primary(vm)) and half.cycles >= before[vm.name] + 1 for vm in stage.vms)

    await stage.until(gone_on, "replication goes on after the restart", _RESTART_SECONDS)


async def _nothing_twice(stage: Stage, before: dict[str, int]) -> None:
    after = await stage.eyes.begun()
    done = Counter((site, op.vm_id, op.verb, op.intent) for site, op in stage.operations() if op.state == "Succeeded")
    twice = [f"{verb} of {vm or site}" for (site, vm, verb, _), count in done.items() if count > 1]
    counts = ", ".join(f"{site} {before[site]} → {after[site]}" for site in after)
    stage.show.say(f"operations begun, before and after: {counts}; {len(done)} intents completed")
    stage.verdict.add(
        "The restart begins no work twice",
        f"operations begun: {counts}; completed twice: {', '.join(twice) or f'none of {len(done)} intents'}",
        held=after == before and not twice,
    )
