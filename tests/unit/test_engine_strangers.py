"""The data port while strangers and a full machine weigh on it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from secondsite.agent.lab.engine import DataServer
from secondsite.agent.lab.engine.port import server
from secondsite.trust.contexts import server_context
from secondsite.trust.gate import only_roles
from secondsite.trust.names import Role
from support.vault import Vault

FEW = 3


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    vault = Vault()
    monkeypatch.setattr(server, "_MAX_CONNECTIONS", FEW)
    context = server_context(vault.agent("chicago"), vault.trust(), only_roles(Role.AGENT))
    opened = DataServer("127.0.0.1", 0, context, lambda _vm: None, lambda *_: "newyork")
    opened.start()
    yield opened.port
    opened.close()


def dial(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=5)


def turned_away(connection: socket.socket) -> bool:
    """Whether the other end closes at once; a handshake that is waited for would time out instead."""
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def test_strangers_that_say_nothing_take_no_more_threads_than_there_are_places(port: int) -> None:
    with ExitStack() as stack:
        for _ in range(FEW):
            stack.enter_context(dial(port))
        assert turned_away(stack.enter_context(dial(port)))


def test_the_port_goes_on_after_a_thread_could_not_be_had(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    start, refused = threading.Thread.start, threading.Event()

    def none_left(thread: threading.Thread) -> None:
        if thread.name.startswith("data-127") and not refused.is_set():
            refused.set()
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", none_left)
    with dial(port) as first:
        assert turned_away(first)
    with dial(port) as second:
        second.sendall(b"not TLS at all, but long enough")
        # Somebody was there to read it.
        assert turned_away(second)
