"""`secondsite operator`: the program in the cluster."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import click

from secondsite import logs
from secondsite.controller import main
from secondsite.controller.table import TABLE


@click.group()
def operator() -> None:
    """Run the operator."""


@operator.command()
@click.option(
    "--namespace",
    default="",
    help=f"Namespace of its Lease, Secrets and tombstones. Default: that of the pod, else {main.DEFAULT_NAMESPACE}.",
)
@click.option(
    "--kubeconfig",
    type=click.Path(dir_okay=False, path_type=Path),
    help="How to reach the API server. Default: the pod's service account, else $KUBECONFIG or ~/.kube/config.",
)
@click.option("--context", help="Context of the kubeconfig. Default: its current one.")
@click.option(
    "--listen",
    metavar="IP",
    help="Address for probes and metrics. Default: all addresses in a pod, 127.0.0.1 elsewhere.",
)
@click.option(
    "--metrics-port",
    type=click.IntRange(0, 65535),
    default=8080,
    show_default=True,
    help="Port of /metrics, /healthz and /readyz; 0: any free one, which the log names.",
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
    help="Least level that is logged.",
)
@click.option(
    "--log-format", type=click.Choice(["json", "console"]), default="json", show_default=True, help="Form of a line."
)
def run(
    namespace: str,
    kubeconfig: Path | None,
    context: str | None,
    listen: str | None,
    metrics_port: int,
    log_level: logs.Level,
    log_format: logs.Format,
) -> None:
    """Command the sites as the cluster declares. Several may run: one commands, the others stand by.

    Ends with 0 when it is told to, and with 3 when another operator has taken the Lease.
    """
    logs.configure(log_level, log_format)
    options = main.Options(
        kubeconfig=kubeconfig,
        context=context,
        namespace=namespace,
        listen=listen,
        metrics_port=metrics_port,
    )
    sys.exit(asyncio.run(main.run(options, TABLE)))
