"""Who is let in: checks on a peer whose chain already leads to the vault's authority. They run in the handshake."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Collection
from datetime import timedelta
from typing import Literal, TypeAlias

from secondsite.trust.certificates import Peer, utc_now
from secondsite.trust.identity import Trust
from secondsite.trust.names import Role

Reason = Literal["NoName", "WrongVault", "WrongRole", "WrongSite", "WrongAddress", "Revoked", "Expired", "Unregistered"]


class PeerRefused(ssl.SSLCertVerificationError):
    """A certificate of the vault's authority, but not one for this connection.

    `reason` is one word, as with every SSLError; `what` names the certificate and says why; `remedy` may be empty.
    """

    def __init__(self, reason: Reason, what: str, remedy: str = "") -> None:
        super().__init__(1, f"{what}. {remedy}" if remedy else what)
        self.reason: str = reason
        self.what = what
        self.remedy = remedy


Admit: TypeAlias = Callable[[Peer], None]
"""Raises PeerRefused for a peer that is not let in."""


def anyone(_peer: Peer) -> None:
    """Any member of the vault: which role may do what is answered later, by a 403 with a reason."""


def only_roles(*roles: Role) -> Admit:
    """Members of the vault in one of `roles`."""

    def admit(peer: Peer) -> None:
        require_role(peer, roles)

    return admit


def require_role(peer: Peer, roles: Collection[Role]) -> None:
    """Raises PeerRefused, with the text for the 403."""
    if peer.name.role not in roles:
        wanted = " or ".join(sorted(roles))
        raise PeerRefused("WrongRole", f"A certificate of the {peer.name} may not do this; it takes role {wanted}")


class SiteGate:
    """Lets in the one site that was dialled. `seen` is the peer of the newest connection, None before the first.

    `address` is the endpoint's host: a bootstrap certificate holds for that endpoint only. `expired_grace` goes with
    a context that does not check times (`client_context(check_times=False)`): how long after its end a certificate
    is still good enough to be renewed over. With `unregistered=False` a bundle is not enough: whoever has a copy of one
    that is spent must be told nothing, and believed in nothing.
    """

    def __init__(
        self, site: str, address: str, *, expired_grace: timedelta | None = None, unregistered: bool = True
    ) -> None:
        self.site = site
        self.address = address
        self.seen: Peer | None = None
        self._grace = expired_grace
        self._unregistered = unregistered

    def __call__(self, peer: Peer) -> None:
        require_role(peer, (Role.AGENT, Role.BOOTSTRAP))
        if peer.name.site != self.site:
            raise PeerRefused(
                "WrongSite",
                f"The certificate is of site {peer.name.site}, dialled {self.site} at {self.address}",
                "Correct the endpoints of the VMMSites: another site answers at this one's.",
            )
        if peer.name.role is Role.BOOTSTRAP and not self._unregistered:
            raise PeerRefused(
                "Unregistered", f"The agent of site {self.site} shows a registration bundle, no certificate of its own"
            )
        if peer.name.role is Role.BOOTSTRAP and self.address not in peer.addresses:
            raise PeerRefused(
                "WrongAddress",
                f"The registration bundle was made for {', '.join(peer.addresses) or 'no address'}, "
                f"dialled {self.address}",
                "Ask for a new bundle with spec.requests.issueRegistration.",
            )
        self._check_grace(peer)
        self.seen = peer

    def _check_grace(self, peer: Peer) -> None:
        if self._grace is not None and utc_now() > peer.not_after + self._grace:
            raise PeerRefused(
                "Expired",
                f"The certificate of site {self.site} expired at {peer.not_after:%Y-%m-%dT%H:%M:%SZ}, "
                "too long ago to be renewed",
                "Ask for a new bundle with spec.requests.issueRegistration and start the agent with it.",
            )


def check(peer: Peer, trust: Trust, admit: Admit) -> None:
    """What holds for every peer, then what holds for this connection. Raises PeerRefused."""
    if peer.name.vault != trust.vault_id:
        raise PeerRefused("WrongVault", f"The certificate is of vault {peer.name.vault}, this is {trust.vault_id}")
    if peer.serial in trust.revoked:
        raise PeerRefused(
            "Revoked",
            f"The certificate of the {peer.name} (serial {peer.serial:x}) was revoked",
            "Register the site anew if it should take part again.",
        )
    admit(peer)
