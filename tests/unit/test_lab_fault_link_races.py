"""A link that is cut while connections are being made."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from secondsite.agent.lab.clock import LabClock
from secondsite.agent.lab.datacentre import Knobs
from secondsite.agent.lab.fault_link import BreakableTLS
from secondsite.agent.lab.faults import Fault, Faults
from secondsite.agent.lab.state import Documents


@pytest.fixture
def faults(tmp_path: Path) -> Iterator[Faults]:
    documents = Documents(tmp_path / "lab.db")
    yield Faults(documents, LabClock(1, Knobs()))
    documents.close()


class _Context(ssl.SSLContext):
    """No handshake; a fault comes in the middle of it."""

    faults: Faults | None = None

    def wrap_socket(self, sock: socket.socket, *_: Any, **__: Any) -> ssl.SSLSocket:
        if self.faults is not None:
            self.faults.set(Fault.LINK_DOWN)
        found = ssl.create_default_context().wrap_socket(sock, server_hostname="west", do_handshake_on_connect=False)
        assert isinstance(found, ssl.SSLSocket)
        return found


class _TLS:
    """Diallers without certificates."""

    def __init__(self, faults: Faults | None = None) -> None:
        self.context = _Context(ssl.PROTOCOL_TLS_CLIENT)
        self.context.faults = faults

    def listener(self) -> ssl.SSLContext:
        return self.context

    def dialler(self, _site: str) -> ssl.SSLContext:
        return self.context


def test_a_link_cut_during_the_handshake_is_cut_for_that_connection_too(faults: Faults) -> None:
    dialler = BreakableTLS(_TLS(faults), faults).dialler("west")
    near, far = socket.socketpair()
    with near, far, pytest.raises(OSError, match="unreachable"):
        dialler.wrap_socket(near)
    with far:
        assert far.fileno() == -1 or far.recv(1) == b""
