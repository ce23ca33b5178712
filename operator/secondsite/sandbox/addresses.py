"""Addresses of the sandbox's agents: whether one is taken and by whom, and free ones for tests."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
from pathlib import Path
from urllib.parse import urlsplit

from secondsite.errors import SecondsiteError

HTTPS_PORT = 443
DATA_PORTS = (8083, 8084)

_LISTEN = "0A"
_TABLES = ("/proc/net/tcp", "/proc/net/tcp6")


class AddressTaken(SecondsiteError):
    """Another process listens where one of ours should."""


def split(endpoint: str) -> tuple[str, int]:
    """Host and port of `https://HOST[:PORT]`."""
    parts = urlsplit(endpoint)
    return parts.hostname or "", parts.port or HTTPS_PORT


def require_free(host: str, port: int) -> None:
    """Raises AddressTaken, naming who holds it, when nobody could listen at this address."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        # As servers do: what merely waits in TIME_WAIT is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise AddressTaken(
                f"{host}:{port} cannot be listened on: {error.strerror}; {holder(host, port)}",
                "End that process (another sandbox?) and try again.",
            ) from error


def holder(host: str, port: int) -> str:
    """Who listens there, in words."""
    for inode, owner in _listeners(host, port):
        pid = _process_with(inode)
        if pid is None:
            return f"it is held by a process of user id {owner}, which only that user or root can look at"
        return f"it is held by process {pid}: {_command(pid)}"
    return "no listener was found there"


def free_loopback() -> str:
    """An address in 127/8 on which nobody uses the ports of an agent: for tests that run side by side."""
    for _ in range(100):
        host = f"127.{64 + secrets.randbelow(190)}.{1 + secrets.randbelow(254)}.{1 + secrets.randbelow(254)}"
        with contextlib.suppress(AddressTaken):
            for port in (8443, *DATA_PORTS):
                require_free(host, port)
            return host
    raise SecondsiteError("No free address was found in 127.0.0.0/8")


def _listeners(host: str, port: int) -> list[tuple[str, str]]:
    """(inode, user id) of each socket that listens at the port, on this address or on all."""
    wanted = {"0.0.0.0", "::", host}  # noqa: S104 - compared with, not bound to
    found = []
    for table in _TABLES:
        with contextlib.suppress(OSError):
            for line in Path(table).read_text().splitlines()[1:]:
                fields = line.split()
                address, _, hexadecimal = fields[1].partition(":")
                if fields[3] == _LISTEN and int(hexadecimal, 16) == port and _address(address) in wanted:
                    found.append((fields[9], fields[7]))
    return found


def _address(text: str) -> str:
    """An address of /proc/net/tcp: hexadecimal, in groups of four bytes with the lowest first."""
    raw = bytes.fromhex(text)
    ordered = b"".join(raw[i : i + 4][::-1] for i in range(0, len(raw), 4))
    return socket.inet_ntop(socket.AF_INET if len(ordered) == 4 else socket.AF_INET6, ordered)


def _process_with(inode: str) -> int | None:
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            with contextlib.suppress(OSError):
                for descriptor in (process / "fd").iterdir():
                    with contextlib.suppress(OSError):
                        if os.readlink(descriptor) == f"socket:[{inode}]":  # noqa: PTH115 - Path.readlink would parse it
                            return int(process.name)
    return None


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return "which has just ended"
