"""`secondsite sandbox`: a world to try things out in."""

from __future__ import annotations

import asyncio
import shlex
from pathlib import Path

import click

from secondsite.cli.world_options import end_like_ctrl_c, plan, world_options
from secondsite.sandbox import assets
from secondsite.sandbox.eyes import Eyes
from secondsite.sandbox.fleet import watch
from secondsite.sandbox.show import Show
from secondsite.sandbox.world import World

_HELLO = """
Two sites replicate. In another terminal:

    export KUBECONFIG={kubeconfig}
    export PATH={bin}:$PATH
    kubectl config set-context --current --namespace {namespace}

Six things to try:

    1. See the fleet, and one VM whole:      kubectl get secondsite
                                             kubectl describe pvm web01
    2. Rehearse a failover:                  kubectl create -f {rehearsal}
                                             kubectl wait --for=condition=Complete tfo/rehearsal --timeout=2m
                                             kubectl get tfo rehearsal -o yaml
    3. Hold replication of a VM:             kubectl patch pvm app01 --type=merge \\
                                               -p '{{"spec":{{"replication":"Suspended"}}}}'    # or Enabled
    4. Kill a site's agent, and watch:       kill -9 {agent}    # it comes back by itself
    5. See what Prometheus would see:        curl -s {metrics}/metrics | grep ^secondsite
    6. Break something, and watch:           secondsite lab fault LinkDown --for 20s --data {data}
                                             secondsite lab fault --data {data}    # what there is
                                             secondsite lab status --data {data}

Logs are in {logs}. Ctrl-C ends it all and leaves nothing behind.
"""


@click.command("sandbox")
@world_options
def sandbox(context: str | None, endpoints: tuple[str, ...], hurry: float) -> None:
    """Keep a whole world up until Ctrl-C: a Kubernetes API, the operator, two sites and three VMs.

    Nothing but Python is needed: the API server is a real one, built at the first start (a few minutes). What happens
    in it stays in a temporary folder and ends with this command.
    """
    wish, show = plan(context, endpoints, hurry), Show()
    end_like_ctrl_c()
    try:
        with World(wish, show.progress) as world:
            world.start()
            show.plain(_hello(world))
            asyncio.run(_watch(world, show))
    except KeyboardInterrupt:
        show.plain("\nEnded; nothing is left.")


async def _watch(world: World, show: Show) -> None:
    async with Eyes(world) as eyes:
        await watch(eyes, show)


def _hello(world: World) -> str:
    site = next(iter(world.sites))
    return _HELLO.format(
        kubeconfig=shlex.quote(str(world.cluster.kubeconfig())),
        bin=shlex.quote(str(world.cluster.bin)),
        namespace=world.namespace,
        rehearsal=shlex.quote(_short(assets.REHEARSAL)),
        agent=world.supervisor.programs[site].pid,
        metrics=world.metrics_url,
        data=shlex.quote(str(world.data(site))),
        logs=world.logs,
    )


def _short(path: Path) -> str:
    """Relative where the user stands in the checkout."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
