"""Who answers at an endpoint, asked without trusting anybody: an authority is made only where none is in use."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from urllib.parse import urlsplit

from cryptography import x509

from secondsite.errors import SecondsiteError
from secondsite.trust.certificates import read_peer
from secondsite.trust.names import Role

_SECONDS = 3.0
_DEFAULT_PORT = 443


async def vault_at(endpoint: str) -> str:
    """The id of the vault whose registered agent answers at `https://HOST[:PORT]`; empty where none does.

    Nothing is sent and nothing is believed: a made-up certificate can only delay the making of an authority.
    """
    der = await _certificate_at(endpoint)
    if der is None:
        return ""
    try:
        name = read_peer(x509.load_der_x509_certificate(der)).name
    except (SecondsiteError, ValueError):
        return ""
    return name.vault if name.role is Role.AGENT else ""


async def _certificate_at(endpoint: str) -> bytes | None:
    parts = urlsplit(endpoint)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(_SECONDS):
            _, writer = await asyncio.open_connection(parts.hostname, parts.port or _DEFAULT_PORT, ssl=context)
            try:
                shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
                return shown if isinstance(shown, bytes) else None
            finally:
                writer.close()
    return None
