"""What a program shows of itself (Identity) and whom it believes (Trust)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from secondsite.errors import SecondsiteError
from secondsite.trust.authority import CertificateAuthority
from secondsite.trust.certificates import Peer, leads_to, load_chain, read_peer
from secondsite.trust.keys import fingerprint, key_from_pem, key_to_pem, new_key
from secondsite.trust.names import Name, Role

OPERATOR_LIFETIME = timedelta(days=14)
OPERATOR_RENEWAL = timedelta(days=1)


@dataclass(frozen=True)
class Trust:
    """Whom a member of a vault believes: a list of authorities (PEM), less the revoked serial numbers."""

    vault_id: str
    authorities: tuple[str, ...]
    revoked: frozenset[int] = frozenset()

    def grown_by(self, authorities: Iterable[str], revoked: Iterable[int]) -> Trust:
        """With these added. Nothing is ever taken away: an older copy of the vault must go on working."""
        known = dict.fromkeys((*self.authorities, *authorities))
        return replace(self, authorities=tuple(known), revoked=self.revoked | frozenset(revoked))


@dataclass(frozen=True)
class Identity:
    """A certificate with its chain, and its key, both as PEM. Make one with `load`, which checks that they fit."""

    certificate_pem: str
    key_pem: str = field(repr=False)
    peer: Peer

    @classmethod
    def load(cls, certificate_pem: str, key_pem: str) -> Identity:
        """Raises SecondsiteError when either cannot be read or they do not belong together."""
        peer = read_peer(load_chain(certificate_pem)[0])
        if peer.key_fingerprint != fingerprint(key_from_pem(key_pem).public_key()):
            raise SecondsiteError(f"The certificate of the {peer.name} was made for another key")
        return cls(certificate_pem, key_pem, peer)


def check_issued(certificate_pem: str, key_pem: str, trust: Trust, name: Name) -> Identity:
    """The identity that a new certificate gives to the holder of `key_pem`, if it may be installed.

    Raises SecondsiteError when it is for another key or another name, or when no trusted authority signed it.
    """
    identity = Identity.load(certificate_pem, key_pem)
    if identity.peer.name != name:
        raise SecondsiteError(f"The certificate offered is of {identity.peer.name.uri}, expected {name.uri}")
    authorities = [load_chain(pem)[0] for pem in trust.authorities]
    if not leads_to(load_chain(certificate_pem), authorities):
        raise SecondsiteError(f"The certificate offered for {name.uri} is not signed by an authority of its vault")
    return identity


def mint(
    authority: CertificateAuthority, role: Role, now: datetime, lifetime: timedelta = OPERATOR_LIFETIME
) -> Identity:
    """A new key and its certificate for the operator or a reader."""
    key = new_key()
    certificate = authority.issue(Name(authority.vault_id, role), key.public_key(), now, lifetime)
    return Identity.load(certificate, key_to_pem(key))


class OperatorIdentity:
    """The operator's own identity for one vault: the key is only in memory and lives for a day."""

    def __init__(self, authority: CertificateAuthority) -> None:
        self._authority = authority
        self._minted: tuple[datetime, Identity] | None = None

    def current(self, now: datetime) -> Identity:
        """The identity to show at `now` (UTC); the same object until a day has passed."""
        if self._minted is None or not timedelta(0) <= now - self._minted[0] < OPERATOR_RENEWAL:
            self._minted = (now, mint(self._authority, Role.OPERATOR, now))
        return self._minted[1]
