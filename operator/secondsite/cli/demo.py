"""`secondsite demo`: does Secondsite hold its claims?"""

from __future__ import annotations

import click

from secondsite.cli.world_options import end_like_ctrl_c, plan, world_options
from secondsite.sandbox.show import Show
from secondsite.sandbox.story import tell


@click.command("demo")
@world_options
@click.pass_context
def demo(context_: click.Context, context: str | None, endpoints: tuple[str, ...], hurry: float) -> None:
    """Protect three VMs, watch their lag, kill the operator, rehearse a failover; then say which claims held.

    Takes about a minute and a half, and some minutes more the first time, to build the control plane. Needs no
    cluster, changes nothing outside a temporary folder, and ends with 0 only if every claim held.
    """
    wish = plan(context, endpoints, hurry)
    end_like_ctrl_c()
    context_.exit(0 if tell(wish, Show()) else 1)
