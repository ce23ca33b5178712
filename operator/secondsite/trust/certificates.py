"""What a certificate says, read into plain values; and whether a chain leads to an authority that is trusted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding

from secondsite.errors import SecondsiteError
from secondsite.trust.keys import fingerprint, require_p256
from secondsite.trust.names import Name

# Certificates are valid from this long before they were made: a wrong clock is then measured and reported by the
# operator, instead of ending every connection before a word is said.
BACKDATING = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Peer:
    """Who holds a certificate, and which one. Times are UTC; `key_fingerprint` as `keys.fingerprint` prints it."""

    name: Name
    serial: int
    not_before: datetime
    not_after: datetime
    key_fingerprint: str
    addresses: tuple[str, ...]

    @property
    def renewal_time(self) -> datetime:
        """Two thirds of the life, counted from when it was made."""
        made = self.not_before + BACKDATING
        return made + (self.not_after - made) * 2 / 3


def read_peer(certificate: x509.Certificate) -> Peer:
    """Raises SecondsiteError unless the certificate holds exactly one URI, and that is a name of a vault."""
    names = _alternative_names(certificate)
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    if len(uris) != 1:
        raise SecondsiteError(f"The certificate names {len(uris)} URIs instead of one secondsite:// name")
    try:
        name = Name.parse(uris[0])
    except ValueError as error:
        raise SecondsiteError(f"The certificate is of no vault: {error}") from None
    addresses = [str(ip) for ip in names.get_values_for_type(x509.IPAddress)]
    return Peer(
        name=name,
        serial=certificate.serial_number,
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        key_fingerprint=fingerprint(require_p256(certificate.public_key())),
        addresses=(*addresses, *names.get_values_for_type(x509.DNSName)),
    )


def load_chain(pem: str) -> list[x509.Certificate]:
    """The certificates of a PEM text, at least one. Raises SecondsiteError."""
    try:
        return x509.load_pem_x509_certificates(pem.encode())
    except ValueError as error:
        raise SecondsiteError(f"Cannot read the certificate: {error}") from None


def to_pem(*chain: x509.Certificate) -> str:
    return "".join(certificate.public_bytes(Encoding.PEM).decode() for certificate in chain)


def leads_to(chain: Sequence[x509.Certificate], authorities: Iterable[x509.Certificate]) -> bool:
    """Whether each certificate of `chain` is signed by the next, and one of them by an authority.

    Times are not judged here: the operator's clock does that.
    """
    trusted = list(authorities)
    for certificate, following in zip(chain, [*chain[1:], None], strict=True):
        if any(_signed_by(certificate, authority) for authority in trusted):
            return True
        if following is None or not _signed_by(certificate, following):
            return False
    return False


def serial_to_text(serial: int) -> str:
    """Hexadecimal: a serial number has up to 159 bits, and a JSON number does not."""
    return f"{serial:x}"


def serial_from_text(text: str) -> int:
    """Raises ValueError."""
    return int(text, 16)


def utc_now() -> datetime:
    return datetime.now(UTC)


def _alternative_names(certificate: x509.Certificate) -> x509.SubjectAlternativeName:
    try:
        return certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
        return x509.SubjectAlternativeName([])


def _signed_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return _may_sign(issuer)


def _may_sign(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False
