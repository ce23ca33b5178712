"""One client per site, renewed when the endpoint, the vault's trust or our own identity changes."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta

from secondsite.api.kind import Object
from secondsite.api.vmmsite import VMMSiteSpec
from secondsite.controller.agents import AgentClient
from secondsite.controller.authority import Authorities
from secondsite.controller.ports import SiteKey
from secondsite.controller.vaultkeys import VaultKeys
from secondsite.errors import NotYet
from secondsite.trust.bundle import endpoint_host
from secondsite.trust.certificates import Peer, utc_now
from secondsite.trust.contexts import client_context
from secondsite.trust.gate import SiteGate
from secondsite.trust.identity import Identity, Trust

EXPIRED_GRACE = timedelta(days=30)
"""How long after its end an agent's certificate is still good for one thing: to be renewed."""
# Calls that are under way with an old client may end with it.
_FAREWELL_SECONDS = 30


@dataclass(frozen=True)
class Dialled:
    """A client and the gate that its connections pass."""

    client: AgentClient
    gate: SiteGate
    endpoint: str
    identity: Identity
    trust: Trust

    @property
    def peer(self) -> Peer | None:
        return self.gate.seen


class Clients:
    """Lends the client of a site. Every caller shares it; nobody but this class closes it."""

    def __init__(self, authorities: Authorities) -> None:
        self._authorities = authorities
        self._dialled: dict[SiteKey, Dialled] = {}
        self._farewells: set[asyncio.Task[None]] = set()

    def of(self, site: Object[VMMSiteSpec]) -> Dialled:
        """The client for this site as it is declared now: it speaks with a registered agent only.

        Raises NotYet while its vault has no authority.
        """
        key = (site.namespace, site.name)
        keys = self.keys(site)
        identity = self._authorities.identity(keys, utc_now())
        known = self._dialled.get(key)
        if known and (known.endpoint, known.identity, known.trust) == (site.spec.endpoint, identity, keys.trust):
            return known
        self.forget(key)
        fresh = _dial(site, identity, keys.trust)
        self._dialled[key] = fresh
        return fresh

    def once(self, site: Object[VMMSiteSpec], *, expired: bool = False) -> Dialled:
        """A client of its own, on new connections, that the caller closes: it also speaks with who shows a bundle.

        `expired`: to renew over only, and so with a registered agent only.
        """
        keys = self.keys(site)
        return _dial(
            site, self._authorities.identity(keys, utc_now()), keys.trust, expired=expired, unregistered=not expired
        )

    def keys(self, site: Object[VMMSiteSpec]) -> VaultKeys:
        """The keys of the site's vault. Raises NotYet."""
        keys = self._authorities.held((site.namespace, site.spec.vault_ref.name))
        if keys is None:
            raise NotYet(f"Vault {site.spec.vault_ref.name} has no certificate authority yet", delay=1)
        return keys

    def orphaned(self, site: Object[VMMSiteSpec]) -> bool:
        """Whether the site's vault certainly has no authority, so that nobody can be believed there."""
        return self._authorities.get((site.namespace, site.spec.vault_ref.name)) is None

    def forget(self, key: SiteKey) -> None:
        """Let the client go, with the connections that it holds."""
        known = self._dialled.pop(key, None)
        if known is not None:
            farewell = asyncio.get_running_loop().create_task(_close_later(known.client))
            self._farewells.add(farewell)
            farewell.add_done_callback(self._farewells.discard)

    async def close(self) -> None:
        farewells = list(self._farewells)
        for farewell in farewells:
            farewell.cancel()
        await asyncio.gather(*farewells, return_exceptions=True)
        for dialled in self._dialled.values():
            await dialled.client.close()
        self._dialled.clear()


def _dial(
    site: Object[VMMSiteSpec],
    identity: Identity,
    trust: Trust,
    *,
    expired: bool = False,
    unregistered: bool = False,
) -> Dialled:
    grace = EXPIRED_GRACE if expired else None
    gate = SiteGate(site.name, endpoint_host(site.spec.endpoint), expired_grace=grace, unregistered=unregistered)
    context = client_context(identity, trust, gate, check_times=not expired)
    return Dialled(AgentClient(site.name, site.spec.endpoint, context), gate, site.spec.endpoint, identity, trust)


async def _close_later(client: AgentClient) -> None:
    try:
        await asyncio.sleep(_FAREWELL_SECONDS)
    finally:
        await client.close()
