"""Keys, their fingerprints, and certificate requests. Every key is ECDSA on P-256."""

from __future__ import annotations

import hashlib
from typing import TypeAlias

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from secondsite.errors import SecondsiteError

PrivateKey: TypeAlias = ec.EllipticCurvePrivateKey
PublicKey: TypeAlias = ec.EllipticCurvePublicKey


def new_key() -> PrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def key_to_pem(key: PrivateKey) -> str:
    """PKCS #8 PEM without a password: who may read it is the file's or the Secret's business."""
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return key.private_bytes(encoding, form, serialization.NoEncryption()).decode()


def key_from_pem(pem: str) -> PrivateKey:
    """Raises SecondsiteError for anything but an unencrypted P-256 key."""
    try:
        key = serialization.load_pem_private_key(pem.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise SecondsiteError(f"Cannot read the private key: {error}") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise SecondsiteError(f"The private key is not an ECDSA key on P-256 but {type(key).__name__}")
    return key


def fingerprint(key: PublicKey) -> str:
    """`sha256:` and 64 hexadecimal digits over the public key (SubjectPublicKeyInfo): the form of every API field."""
    spki = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return f"sha256:{hashlib.sha256(spki).hexdigest()}"


def make_request(key: PrivateKey) -> str:
    """A certificate request as PEM. It names nobody: what is signed is decided by who signs."""
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    return request.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def requested_key(request_pem: str) -> PublicKey:
    """The key that a certificate request proves to hold; whatever else it says is ignored.

    Raises SecondsiteError when it cannot be read, when its self-signature does not fit, or for another kind of key.
    """
    try:
        request = x509.load_pem_x509_csr(request_pem.encode())
        key = require_p256(request.public_key())
        honest = request.is_signature_valid
    except (ValueError, UnsupportedAlgorithm) as error:
        raise SecondsiteError(f"Cannot read the certificate request: {error}") from None
    if not honest:
        raise SecondsiteError("The certificate request is not signed with the key that it names")
    return key


def require_p256(key: object) -> PublicKey:
    """`key` as a P-256 key. Raises SecondsiteError otherwise."""
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise SecondsiteError(f"Only ECDSA keys on P-256 are signed, not {type(key).__name__}")
    return key
