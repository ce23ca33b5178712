"""A vault for tests: its authority, and identities of whoever is needed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from secondsite.trust.authority import CertificateAuthority
from secondsite.trust.identity import Identity, Trust, mint
from secondsite.trust.keys import key_to_pem, new_key
from secondsite.trust.names import Name, Role, new_vault_id

DAY = timedelta(days=1)


@dataclass(frozen=True)
class Vault:
    """One vault; every identity gets a new key."""

    authority: CertificateAuthority = field(
        default_factory=lambda: CertificateAuthority.create(new_vault_id(), datetime.now(UTC)),
    )

    @property
    def vault_id(self) -> str:
        return self.authority.vault_id

    def trust(self, revoked: Iterable[int] = ()) -> Trust:
        return Trust(self.vault_id, (self.authority.certificate_pem,), frozenset(revoked))

    def operator(self) -> Identity:
        return mint(self.authority, Role.OPERATOR, datetime.now(UTC))

    def reader(self) -> Identity:
        return mint(self.authority, Role.READER, datetime.now(UTC))

    def agent(self, site: str, *, made: datetime | None = None, lifetime: timedelta = 90 * DAY) -> Identity:
        return self.identity(Name(self.vault_id, Role.AGENT, site), made=made, lifetime=lifetime)

    def bootstrap(self, site: str, address: str = "127.0.0.1", uid: str = "7d1f") -> Identity:
        return self.identity(Name(self.vault_id, Role.BOOTSTRAP, site, uid), addresses=(address,))

    def identity(
        self,
        name: Name,
        *,
        made: datetime | None = None,
        lifetime: timedelta = 90 * DAY,
        addresses: Iterable[str] = (),
    ) -> Identity:
        key = new_key()
        pem = self.authority.issue(name, key.public_key(), made or datetime.now(UTC), lifetime, addresses)
        return Identity.load(pem, key_to_pem(key))
