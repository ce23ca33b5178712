"""Where the agent listens, and who is there already."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from secondsite.errors import SecondsiteError
from secondsite.trust.bundle import endpoint_host

_DEFAULT_PORT = 443
_LISTENING = "0A"


@dataclass(frozen=True)
class Address:
    host: str
    port: int

    @classmethod
    def parse(cls, endpoint: str) -> Address:
        """From `https://HOST[:PORT]`. Raises SecondsiteError."""
        host = endpoint_host(endpoint)
        try:
            port = urlsplit(endpoint).port
        except ValueError:
            raise SecondsiteError(f"The port in {endpoint} is not a number from 0 to 65535") from None
        return cls(host, _DEFAULT_PORT if port is None else port)

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"https://{host}:{self.port}"


def cannot_listen(address: Address, error: OSError) -> SecondsiteError:
    """Why `address` cannot be had, naming who has it where this system tells."""
    what = f"Listening on {address.url} failed: {error.strerror or error}"
    holder = _holder(address)
    if holder:
        return SecondsiteError(f"{what}. {holder} listens there", "Stop it, or choose another address with --listen.")
    return SecondsiteError(what, "Choose an address of this machine that is free, with --listen https://IP:PORT.")


def _holder(address: Address) -> str:
    """`process 4711 (python3)`; empty where it is not ours to know."""
    for inode in _listeners(address):
        for descriptor in Path("/proc").glob("[0-9]*/fd/*"):
            with contextlib.suppress(OSError):
                if str(descriptor.readlink()) == f"socket:[{inode}]":
                    process = descriptor.parts[2]
                    name = Path("/proc", process, "comm").read_text(encoding="utf-8").strip()
                    return f"Process {process} ({name})"
    return ""


def _listeners(address: Address) -> Iterator[str]:
    """Inodes of the sockets that listen on this port, at this address or at all."""
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]:
            _, local, _, state, *rest = line.split()
            host, port = local.split(":")
            if state == _LISTENING and int(port, 16) == address.port and _is_at(host, address.host):
                yield rest[5]


def _is_at(host: str, wanted: str) -> bool:
    here = socket.inet_ntoa(bytes.fromhex(host)[::-1])
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(here) in {ipaddress.ip_address(wanted), ipaddress.ip_address("0.0.0.0")}  # noqa: S104 - compared, not bound
    return False
