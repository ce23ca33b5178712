"""The demo: the main job, start to end, ending in a verdict."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from secondsite.errors import SecondsiteError
from secondsite.sandbox.eyes import Eyes
from secondsite.sandbox.figures import Rest
from secondsite.sandbox.rehearsal_story import rehearse
from secondsite.sandbox.replication_story import honest_lag, identical, initial_replication
from secondsite.sandbox.restart_story import survive_sigkill
from secondsite.sandbox.show import Show
from secondsite.sandbox.stage import Stage, Verdict
from secondsite.sandbox.world import Plan, World

Chapter = Callable[[Stage], Awaitable[None]]


def tell(plan: Plan, show: Show) -> bool:
    """Tell the whole story; whether every claim held. Nothing is left running or lying about, but logs of a failure.

    Raises SecondsiteError where the world could not even be set up.
    """
    verdict = Verdict()
    with World(plan, show.progress) as world:
        try:
            _set_up(world, show, verdict)
            asyncio.run(_chapters(world, show, verdict))
        except SecondsiteError as error:
            if not world.logs.exists():
                raise  # nothing ran yet
            verdict.add("The story comes to its end", str(error), held=False)
        _conclude(world, show, verdict)
    show.say("everything is stopped and removed")
    return verdict.held


def _set_up(world: World, show: Show, verdict: Verdict) -> None:
    show.heading("1/7  Control plane and operator")
    began = show.elapsed
    world.start_cluster()
    show.say(f"a real Kubernetes API server answers, CRDs and roles are installed ({show.elapsed - began:.1f} s)")
    world.start_operator()
    show.say(f"operator runs as its service account, under the RBAC of deploy/: {world.metrics_url}/metrics")
    show.heading("2/7  Manifests and agents")
    world.apply()
    show.say(", ".join(f"{d['kind']} {d['metadata']['name']}" for d in world.documents))
    world.start_agents()
    show.say("both agents started with the bundles that the operator wrote for their sites")
    verdict.figures.append(("start to both agents listening", f"{show.elapsed - began:.1f} s"))


async def _chapters(world: World, show: Show, verdict: Verdict) -> None:
    async with Eyes(world) as eyes:
        stage = Stage(world, eyes, show, verdict)
        show.heading("3/7  Initial replication")
        await initial_replication(stage)
        show.heading("4/7  Delta cycles: the lag that is reported, and the true one")
        first = await eyes.metrics()
        await honest_lag(stage)
        await identical(stage, "After delta cycles")
        Rest(first, await eyes.metrics()).tell(verdict)
        show.heading("5/7  The operator is killed")
        await survive_sigkill(stage)
        show.heading("6/7  Test failover beside production")
        await rehearse(stage)
        await identical(stage, "After the test failover")


def _conclude(world: World, show: Show, verdict: Verdict) -> None:
    show.heading("7/7  Verdict")
    verdict.figures.append(("whole story", f"{show.elapsed:.0f} s"))
    show.draw(verdict.figures_table())
    show.draw(verdict.table())
    if verdict.held:
        show.plain("Every claim held.")
    else:
        show.plain(f"Not every claim held. The logs are in {world.keep_logs()}")
