"""What every chapter of the demo's story has: the world, eyes, a place to say things, and the list of claims."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from rich import box
from rich.table import Table

from secondsite.api.protectedvm import PROTECTED_VM
from secondsite.errors import SecondsiteError
from secondsite.sandbox import assets
from secondsite.sandbox.eyes import Eyes, Metrics
from secondsite.sandbox.show import Show
from secondsite.sandbox.world import World
from secondsite.wire.facts import Operation, Relation

_POLL_SECONDS = 0.25


@dataclass(frozen=True)
class Claim:
    """Something that Secondsite promises, and what was measured."""

    text: str
    measured: str
    held: bool


@dataclass
class Verdict:
    """All claims, and figures that promise nothing."""

    claims: list[Claim] = field(default_factory=list)
    figures: list[tuple[str, str]] = field(default_factory=list)

    def add(self, text: str, measured: str, *, held: bool) -> None:
        """One more claim."""
        self.claims.append(Claim(text, measured, held))

    @property
    def held(self) -> bool:
        """Whether there are claims and all held."""
        return bool(self.claims) and all(claim.held for claim in self.claims)

    def table(self) -> Table:
        """Claim, measured, held or not."""
        table = Table("Claim", "Measured", "Held", box=box.SIMPLE_HEAD, show_lines=True)
        for claim in self.claims:
            table.add_row(claim.text, claim.measured, "yes" if claim.held else "NO")
        return table

    def figures_table(self) -> Table:
        """The figures."""
        table = Table("Figure", "Seen", box=box.SIMPLE_HEAD)
        for row in self.figures:
            table.add_row(*row)
        return table


@dataclass(frozen=True)
class VM:
    """A ProtectedVM of the examples, with the places of its halves."""

    name: str
    id: str
    source: str
    target: str


@dataclass
class Stage:
    """One run of the story. `vms` is filled once the operator has found them."""

    world: World
    eyes: Eyes
    show: Show
    verdict: Verdict
    vms: tuple[VM, ...] = ()

    @property
    def names(self) -> list[str]:
        """Names of the ProtectedVMs, in the order of the manifests."""
        return list(assets.named(self.world.documents, PROTECTED_VM.name))

    def primary(self, vm: VM) -> Relation | None:
        """The source's half, as of the last look."""
        return self.eyes.sites[vm.source].all(Relation).get(vm.id)

    def replica(self, vm: VM) -> Relation | None:
        """The target's half, as of the last look."""
        return self.eyes.sites[vm.target].all(Relation).get(vm.id)

    def operations(self) -> list[tuple[str, Operation]]:
        """Every operation that the sites tell of, with its site, as of the last look."""
        return [(site, op) for site, eye in self.eyes.sites.items() for op in eye.all(Operation).values()]

    async def metrics(self) -> Metrics | None:
        """The operator's metrics; None while it does not answer."""
        try:
            return await self.eyes.metrics()
        except SecondsiteError:
            return None

    async def until(
        self, true: Callable[[], Awaitable[Any]], what: str, seconds: float, every: float = _POLL_SECONDS
    ) -> float:
        """Wait for it; the seconds that it took. Raises SecondsiteError with the log's last words."""
        began = time.monotonic()
        while not await true():
            if time.monotonic() - began > seconds:
                said = self.world.operator.tail()
                raise SecondsiteError(f"Waited {seconds:.0f} s in vain: {what}. The operator's log ends: {said}")
            await asyncio.sleep(every)
        return time.monotonic() - began


def mebibytes(count: float | None) -> str:
    """Bytes for people."""
    return "?" if count is None else f"{count / 1048576:.1f} MiB"
