"""A pair of sites for the driver contract suite, known by the agent contract alone, and hooks that a rig may offer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NoReturn

import pytest

from secondsite.wire.agent import Capability, Settings
from secondsite.wire.arguments import Endpoint
from support.driver_rig_site import FENCE, RigSite


class Rig(ABC):
    """Two sites that can reach each other, and VMs at the source that may be used and are given back."""

    name: str
    source: RigSite
    target: RigSite
    patience: float
    """Seconds in which what replication does by itself is done."""
    port: int
    """Where the target takes data."""
    back_port: int
    """Where the source takes data once roles have changed."""
    trickle: int
    """Bytes per second at which the copy of a VM takes several seconds."""
    expected: frozenset[Capability]
    """What the driver of this profile says that it can do."""

    default_profile: bool = True
    """Where not, what takes long and is alike in all profiles of a driver is shown by another of them."""

    @abstractmethod
    def start(self) -> None:
        """Bring both sites up."""

    @abstractmethod
    def stop(self) -> None:
        """Leave nothing running."""

    @asynccontextmanager
    async def slowly(self) -> AsyncIterator[None]:
        """While inside, the source sends no more than a trickle."""
        await self.source.set("/v1/settings", Settings(fence=FENCE, bandwidth_limit_bytes_per_second=self.trickle))
        try:
            yield
        finally:
            await self.source.set("/v1/settings", Settings(fence=FENCE))

    @asynccontextmanager
    async def silent_endpoint(self) -> AsyncIterator[Endpoint]:
        """While inside, a target that takes connections and never says a word."""
        _skip("there is no endpoint that keeps silent")
        yield

    @property
    def sites(self) -> tuple[RigSite, RigSite]:
        return self.source, self.target

    def peer(self, site: RigSite) -> RigSite:
        return self.target if site is self.source else self.source

    def kill(self, *sites: RigSite) -> None:
        """End agents at once, as a power failure of their machine does."""
        _skip("agents cannot be killed here")

    def revive(self, *sites: RigSite) -> None:
        """Start killed agents again; returns when they answer."""
        _skip("agents cannot be killed here")

    def cut(self) -> None:
        """No replication data gets from site to site."""
        _skip("the link cannot be cut here")

    def mend(self) -> None:
        """It does again."""
        _skip("the link cannot be cut here")

    def hang(self, site: RigSite, vm_id: str) -> None:
        """The next command of a VM does not end until `let_go`, or until it is abandoned."""
        _skip("no command can be made to hang here")

    def let_go(self, site: RigSite, vm_id: str) -> None:
        """It does."""
        _skip("no command can be made to hang here")

    def restart_service(self, site: RigSite) -> None:
        """Relations cannot be read for a while (a restart of the VMMS)."""
        _skip("the hypervisor's service cannot be restarted here")

    def lose_tracking(self, vm_id: str) -> None:
        """At the source, what changed of a VM is not known any more (somebody wrote to its disk while it was off)."""
        _skip("no disk can be written to behind the hypervisor's back here")

    def media(self, vm_id: str) -> str:
        """A folder that both agents see under this path, for media."""
        _skip("there is no folder that both sites see")


def _skip(why: str) -> NoReturn:
    pytest.skip(why)
