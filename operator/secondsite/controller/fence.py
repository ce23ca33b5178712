"""Which term our commands carry: above all that any reachable site has seen, while the Lease is ours."""

from __future__ import annotations

from typing import Protocol

from secondsite.controller.sites import Sites
from secondsite.errors import SiteRefused, Superseded
from secondsite.wire.agent import Fence
from secondsite.wire.problems import Code


class Leadership(Protocol):
    """What the Lease gives: `holder` is unique per process, `control_plane` is the kube-system namespace's uid."""

    control_plane: str
    holder: str

    @property
    def held(self) -> bool:
        """Whether the Lease is ours at this moment."""

    @property
    def term(self) -> int:
        """The Lease's transition count."""

    async def raise_term(self, at_least: int) -> None:
        """Raise the transition count to at least this. Raises Superseded when the Lease is not ours any more."""


class Fences:
    """The fence of this process. Terms are compared with what the sites have seen before the first command."""

    def __init__(self, lease: Leadership, sites: Sites) -> None:
        self._lease = lease
        self._sites = sites

    @property
    def control_plane(self) -> str:
        """UID of the kube-system namespace: part of every owner mark."""
        return self._lease.control_plane

    async def current(self) -> Fence:
        """The fence to send. Raises Superseded without the Lease."""
        if not self._lease.held:
            raise Superseded("This operator does not hold the Lease")
        highest = max((self._foreign_term(fence) for fence in self._seen()), default=-1)
        if highest >= self._lease.term:
            await self._lease.raise_term(highest + 1)
        return Fence(control_plane=self._lease.control_plane, term=self._lease.term, holder=self._lease.holder)

    async def refused(self, refusal: SiteRefused) -> None:
        """A site refused our term: rise above what it saw, if the Lease is still ours.

        Raises Superseded when it is not, and the refusal when a person has to decide (another control plane).
        """
        if refusal.code not in (Code.FENCED, Code.TERM_TAKEN):
            raise refusal
        if not self._lease.held:
            raise Superseded("Another operator commands the sites now") from refusal
        await self._lease.raise_term(max(refusal.highest_term or 0, self._lease.term) + 1)

    def _seen(self) -> list[Fence]:
        infos = (mirror.info for mirror in self._sites.views())
        return [info.fence for info in infos if info is not None and info.fence is not None]

    def _foreign_term(self, fence: Fence) -> int:
        """A term to outdo. Not our own; nor one of another cluster, about which a person has to decide."""
        others = fence.holder != self._lease.holder and fence.control_plane == self._lease.control_plane
        return fence.term if others else -1
