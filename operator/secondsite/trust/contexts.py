"""TLS contexts of a vault's members: TLS 1.3 only, certificates both ways, no session tickets."""

from __future__ import annotations

import asyncio.sslproto
import contextlib
import os
import ssl
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from secondsite.errors import SecondsiteError
from secondsite.trust.gate import Admit, anyone
from secondsite.trust.handshake import VaultSSLObject, VaultSSLSocket
from secondsite.trust.identity import Identity, Trust

# X509_V_FLAG_NO_CHECK_TIME of OpenSSL's x509_vfy.h; Python has no name for it.
_NO_CHECK_TIME = 0x200000


class VaultContext(ssl.SSLContext):
    """A context that carries whom it believes and whom it lets in. Made by the functions below."""

    sslobject_class = VaultSSLObject
    sslsocket_class = VaultSSLSocket
    trust: Trust
    admit: Admit


class ReloadableContext(ssl.SSLContext):
    """Stands where a listener or a client keeps its context for good; new connections use `current`.

    Renewing is `reloadable.current = server_context(…)`: what does not fit together has raised before it is assigned,
    and open connections stay.
    """

    current: VaultContext

    def wrap_bio(self, *args: Any, **kwargs: Any) -> ssl.SSLObject:
        return self.current.wrap_bio(*args, **kwargs)

    def wrap_socket(self, *args: Any, **kwargs: Any) -> ssl.SSLSocket:
        return self.current.wrap_socket(*args, **kwargs)


def reloadable(context: VaultContext) -> ReloadableContext:
    """A holder for `context`, to be given to aiohttp or asyncio as `ssl=`/`ssl_context=`."""
    holder = ReloadableContext(context.protocol)
    holder.current = context
    return holder


def server_context(identity: Identity, trust: Trust, admit: Admit = anyone) -> VaultContext:
    """For a listener, of asyncio or of blocking sockets. Raises SecondsiteError when the parts do not fit.

    The contract's listener lets in anyone of the vault and answers a wrong role with 403; the data port lets in
    `only_roles(Role.AGENT)`.
    """
    context = VaultContext(ssl.PROTOCOL_TLS_SERVER)
    # A client could resume a session after its certificate expired or was revoked.
    context.num_tickets = 0
    return _prepared(context, identity, trust, admit)


def client_context(identity: Identity, trust: Trust, admit: Admit, *, check_times: bool = True) -> VaultContext:
    """For dialling a site; `admit` is a SiteGate for it. Raises SecondsiteError when the parts do not fit.

    `check_times=False` is for one purpose: to renew the certificate of an agent that expired while the operator was
    away; the SiteGate then needs an `expired_grace`.
    """
    context = VaultContext(ssl.PROTOCOL_TLS_CLIENT)
    # Sites are known by name, not by address: the gate checks the certificate's URI.
    context.check_hostname = False
    _prepared(context, identity, trust, admit)
    if not check_times:
        context.verify_flags = ssl.VerifyFlags(context.verify_flags | _NO_CHECK_TIME)
    return context


def shrink_tls_buffers(size: int = 16384) -> None:
    """Let each asyncio TLS connection of this process, from now on, keep `size` bytes to read into (not 256 KiB).

    An idle connection then takes 56 KiB instead of 296, at the same rate: a record of TLS has at most 16 KiB.
    """
    asyncio.sslproto.SSLProtocol.max_size = size


def _prepared(context: VaultContext, identity: Identity, trust: Trust, admit: Admit) -> VaultContext:
    context.trust, context.admit = trust, admit
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_STRICT
    if not trust.authorities:
        raise SecondsiteError(f"Vault {trust.vault_id} has no certificate authority to trust")
    try:
        context.load_verify_locations(cadata="\n".join(trust.authorities))
        with _as_file(identity.certificate_pem + identity.key_pem) as path:
            context.load_cert_chain(path)
    except (ssl.SSLError, ValueError) as error:
        raise SecondsiteError(f"The certificate of the {identity.peer.name} cannot be used: {error}") from error
    return context


@contextlib.contextmanager
def _as_file(pem: str) -> Iterator[str]:
    """Python's ssl reads keys from files only; on Linux this one has no place on any disk."""
    if hasattr(os, "memfd_create") and Path("/proc/self/fd").is_dir():
        with os.fdopen(os.memfd_create("identity"), "wb") as memory:
            memory.write(pem.encode())
            memory.flush()
            yield f"/proc/self/fd/{memory.fileno()}"
        return
    with tempfile.TemporaryDirectory(prefix="secondsite-") as directory:
        file = Path(directory, "identity.pem")
        file.touch(mode=0o600)
        file.write_text(pem, encoding="ascii")
        yield str(file)
