"""Certificates over the contract: `PUT /v1/identity/request|certificate|trust`."""

from secondsite.wire.base import Message


class IdentityRequest(Message):
    """Asks for a certificate request; the agent makes its key durable before it answers. Repeats give the same key."""

    vault_id: str
    site: str
    subject: str = "agent"
    """Whose certificate: the agent's own, or later that of a Hyper-V host or broker."""


class IdentityAnswer(Message):
    """A PEM certificate request made from a key that never leaves the site."""

    certificate_request: str


class CertificateInstall(Message):
    """The signed certificate (leaf first, then any intermediates, PEM) and the authorities to trust from now on."""

    certificate: str
    authorities: list[str]
    subject: str = "agent"


class TrustUpdate(Message):
    """Trusted authorities (PEM, a list that only grows until they expire) and revoked serial numbers (hex)."""

    authorities: list[str]
    revoked: tuple[str, ...] = ()
