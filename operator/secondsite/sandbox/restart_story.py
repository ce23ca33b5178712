"""Chapter 5: the operator is killed, and finds out again from the sites what is true."""

from __future__ import annotations

import time
from collections import Counter

from secondsite.sandbox.eyes import Metrics
from secondsite.sandbox.stage import Stage

_RESTART_SECONDS = 60.0
_LOOK_SECONDS = 0.1
_UNVERIFIED = "secondsite_operator_unverified_objects"


async def survive_sigkill(stage: Stage) -> None:
    """SIGKILL the operator; what it started is neither forgotten nor begun again."""
    begun = await stage.eyes.begun()
    former = stage.world.operator.kill()
    watch = _Watch(stage)
    stage.show.say(f"operator (process {former}) killed with SIGKILL; the supervisor starts it again")
    await stage.until(watch.leads, "the restarted operator takes the Lease", _RESTART_SECONDS, every=_LOOK_SECONDS)
    led = watch.elapsed
    stage.show.say(f"process {stage.world.operator.pid} holds the Lease")
    await stage.until(watch.verified, "every object is verified again", _RESTART_SECONDS, every=_LOOK_SECONDS)
    verified = watch.elapsed
    stage.show.say(f"all of {watch.most} objects were verified against what the sites say")
    stage.verdict.add(
        "After SIGKILL the operator verifies every object again",
        f"unverified {watch.most} → 0, {verified:.1f} s after the kill, {verified - led:.1f} s after taking the Lease",
        held=watch.most > 0,
    )
    stage.verdict.figures += [
        ("operator killed to everything verified", f"{verified:.1f} s"),
        ("  of that with the Lease", f"{verified - led:.1f} s"),
    ]
    await _one_more_cycle(stage)
    await _nothing_twice(stage, begun)


class _Watch:
    """The start barrier's count, from the kill on."""

    def __init__(self, stage: Stage) -> None:
        self.most = 0
        self._stage = stage
        self._killed = time.monotonic()

    @property
    def elapsed(self) -> float:
        """Seconds since the kill."""
        return time.monotonic() - self._killed

    async def leads(self) -> bool:
        """Whether the new one holds the Lease."""
        metrics = await self._look()
        self._stage.show.progress("waiting for the Lease of the killed one to run out (6 s)")
        return bool(metrics and metrics.get("secondsite_operator_leader"))

    async def verified(self) -> bool:
        """Whether nothing is unverified."""
        metrics = await self._look()
        left = metrics.get(_UNVERIFIED) if metrics else None
        self._stage.show.progress(f"objects not verified yet: {'?' if left is None else int(left)}")
        return left == 0

    async def _look(self) -> Metrics | None:
        metrics = await self._stage.metrics()
        if metrics:
            self.most = max(self.most, int(metrics.get(_UNVERIFIED) or 0))
        return metrics


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
