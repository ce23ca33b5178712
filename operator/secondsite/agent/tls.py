"""The agent's TLS contexts: made from its identity, made anew when that changes, while listeners stay open."""

from __future__ import annotations

import ssl

from secondsite.agent.identity import SiteIdentity
from secondsite.trust.certificates import Peer
from secondsite.trust.contexts import ReloadableContext, VaultContext, client_context, reloadable, server_context
from secondsite.trust.gate import Admit, PeerRefused, only_roles, require_role
from secondsite.trust.names import Role


class LiveTLS:
    """Contexts that stay good for as long as the agent runs: `refresh` gives all of them the present identity."""

    def __init__(self, identity: SiteIdentity) -> None:
        self._identity = identity
        self._data_listener: ReloadableContext | None = None
        self._diallers: dict[str, ReloadableContext] = {}
        # Any member of the vault may speak; a wrong role gets a 403 with a reason.
        self.contract = reloadable(server_context(identity.identity, identity.trust))

    def listener(self) -> ssl.SSLContext:
        """For the data port: agents of this vault only."""
        if self._data_listener is None:
            self._data_listener = reloadable(self._listener())
        return self._data_listener

    def dialler(self, site: str) -> ssl.SSLContext:
        """For the data port of `site`: its agent only."""
        if site not in self._diallers:
            self._diallers[site] = reloadable(self._dialler(site))
        return self._diallers[site]

    def refresh(self) -> None:
        """New connections see identity and trust as they are now. Raises SecondsiteError, then nothing has changed."""
        contract = server_context(self._identity.identity, self._identity.trust)
        diallers = {site: self._dialler(site) for site in self._diallers}
        if self._data_listener is not None:
            self._data_listener.current = self._listener()
        for site, context in diallers.items():
            self._diallers[site].current = context
        self.contract.current = contract

    def _listener(self) -> VaultContext:
        return server_context(self._identity.identity, self._identity.trust, only_roles(Role.AGENT))

    def _dialler(self, site: str) -> VaultContext:
        return client_context(self._identity.identity, self._identity.trust, _only_site(site))


def _only_site(site: str) -> Admit:
    def admit(peer: Peer) -> None:
        require_role(peer, (Role.AGENT,))
        if peer.name.site != site:
            raise PeerRefused("WrongSite", f"Replication data is meant for site {site}, {peer.name.site} answered")

    return admit
