"""The certificate authority of a RecoveryVault. The operator holds it; no site ever sees its key."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from secondsite.errors import SecondsiteError
from secondsite.trust.certificates import BACKDATING, load_chain, to_pem
from secondsite.trust.keys import PrivateKey, PublicKey, fingerprint, key_from_pem, key_to_pem, new_key, require_p256
from secondsite.trust.names import Name, Role

AUTHORITY_LIFETIME = timedelta(days=3650)

# Only an agent both dials (the data port of another site) and is dialled.
_USAGES = {
    Role.OPERATOR: (ExtendedKeyUsageOID.CLIENT_AUTH,),
    Role.READER: (ExtendedKeyUsageOID.CLIENT_AUTH,),
    Role.AGENT: (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH),
    Role.BOOTSTRAP: (ExtendedKeyUsageOID.SERVER_AUTH,),
}


@dataclass(frozen=True)
class CertificateAuthority:
    """One authority of a vault. A vault trusts a *list* of them; the newest signs."""

    vault_id: str
    certificate: x509.Certificate
    key: PrivateKey

    @classmethod
    def create(cls, vault_id: str, now: datetime, lifetime: timedelta = AUTHORITY_LIFETIME) -> CertificateAuthority:
        """A new authority, valid from seven days before `now` (UTC) until `now + lifetime`."""
        key = new_key()
        subject = _subject(f"vault {vault_id}")
        # No path length: an authority that follows is cross-signed by this one.
        certificate = (
            _builder(subject, subject, key.public_key(), now, lifetime, issuer_key=key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=True), critical=True)
            .sign(key, hashes.SHA256())
        )
        return cls(vault_id, certificate, key)

    @classmethod
    def load(cls, vault_id: str, certificate_pem: str, key_pem: str) -> CertificateAuthority:
        """Raises SecondsiteError when either cannot be read or the key is not the certificate's."""
        certificate, key = load_chain(certificate_pem)[0], key_from_pem(key_pem)
        if fingerprint(require_p256(certificate.public_key())) != fingerprint(key.public_key()):
            raise SecondsiteError(
                f"The key of the certificate authority of vault {vault_id} does not belong to its certificate",
                "Restore both from one copy of the vault.",
            )
        return cls(vault_id, certificate, key)

    @property
    def certificate_pem(self) -> str:
        return to_pem(self.certificate)

    @property
    def key_pem(self) -> str:
        return key_to_pem(self.key)

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.key.public_key())

    @property
    def expiry_time(self) -> datetime:
        return self.certificate.not_valid_after_utc

    def issue(
        self,
        name: Name,
        key: PublicKey,
        now: datetime,
        lifetime: timedelta,
        addresses: Iterable[str] = (),
    ) -> str:
        """Sign a certificate for `name` and `key`, valid from `now` - 7 days until `now` + `lifetime`; PEM.

        `addresses` are host names or IP addresses of the endpoint. What the certificate may be used for follows
        from the role. Raises SecondsiteError for a name of another vault.
        """
        if name.vault != self.vault_id:
            raise SecondsiteError(f"The authority of vault {self.vault_id} does not sign for {name.uri}")
        names = [x509.UniformResourceIdentifier(name.uri), *map(_address, addresses)]
        subject = _subject(str(name))
        certificate = (
            _builder(subject, self.certificate.subject, key, now, lifetime, issuer_key=self.key.public_key())
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(_USAGES[name.role]), critical=False)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .sign(self.key, hashes.SHA256())
        )
        return to_pem(certificate)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: PublicKey,
    now: datetime,
    lifetime: timedelta,
    *,
    issuer_key: PublicKey,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder(subject_name=subject, issuer_name=issuer, public_key=key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATING)
        .not_valid_after(now + lifetime)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key), critical=False)
    )


def _subject(text: str) -> x509.Name:
    # For people who look at a certificate; nothing decides by it. X.509 allows 64 characters.
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Secondsite"),
            x509.NameAttribute(NameOID.COMMON_NAME, text[:64]),
        ],
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _address(address: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(address))
    except ValueError:
        return x509.DNSName(address)
