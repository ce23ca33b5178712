"""Peers that speak byte by byte: none is waited for for ever, and none takes the places of others."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from secondsite.agent.lab.engine import Link, LinkError, Stopped
from secondsite.agent.lab.engine.port import link, server
from secondsite.agent.lab.engine.port.patience import Patience
from support.engine_pair import Pair, pattern
from support.engine_wire import CYCLES, SIZES, frame, opening, put

QUICK = Patience(head_seconds=0.6, body_seconds=0.6, window_seconds=1, window_bytes=4096)


@pytest.fixture
def pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pair]:
    monkeypatch.setattr(server, "_PATIENCE", QUICK)
    with Pair(tmp_path, SIZES) as pair:
        pair.target.receiver.open_cycle(opening())
        yield pair


@contextlib.contextmanager
def dripping(pair: Pair, first: bytes, then: bytes = b"x") -> Iterator[socket.socket]:
    """A peer that says something, and then a byte now and then until the connection ends."""
    over = threading.Event()

    def drip(sock: socket.socket) -> None:
        with contextlib.suppress(OSError):
            sock.sendall(first)
            while not over.wait(0.02):
                sock.sendall(then)

    with socket.create_connection(("127.0.0.1", pair.server.port), timeout=10) as sock:
        thread = threading.Thread(target=drip, args=(sock,))
        thread.start()
        try:
            yield sock
        finally:
            over.set()
            thread.join()


def ended(sock: socket.socket) -> bool:
    """Whether the other end closes, within the ten seconds of the socket's timeout."""
    try:
        while sock.recv(65536):
            pass
    except ConnectionResetError:
        pass
    except TimeoutError:
        return False
    return True


SLOW = {
    "a head": (b"GET /v1/vms/", b"x"),
    "many headers": (b"GET /v1/vms/vm HTTP/1.1\r\n", b"a:b\r\n"),
    "a message": (f"POST {CYCLES} HTTP/1.1\r\ncontent-length: 100000\r\n\r\n".encode(), b"{"),
    "the size of a chunk": (put(end=b""), b"0"),
    "the header of a frame": (put(end=b"10000\r\nSSfr"), b"x"),
    "the content of a frame": (put(frame(0))[:200_000], b"x"),
    "what nobody wants to hear after an error": (b"BREW / HTTP/1.1\r\n\r\n", b"x"),
}


@pytest.mark.parametrize("what", SLOW)
def test_who_speaks_byte_by_byte_is_left_and_a_good_cycle_goes_on(pair: Pair, what: str) -> None:
    with ExitStack() as stack:
        slow = [stack.enter_context(dripping(pair, *SLOW[what])) for _ in range(4)]
        pair.disks["a"].write(0, pattern(1))
        assert pair.matches(pair.cycle().cycle)
        assert all(ended(sock) for sock in slow)


def test_who_is_slow_but_goes_on_is_waited_for(pair: Pair) -> None:
    raw = put(frame(0, count=2))
    pause = threading.Event()
    with socket.create_connection(("127.0.0.1", pair.server.port), timeout=10) as sock:
        for start in range(0, len(raw), 8192):
            sock.sendall(raw[start : start + 8192])
            pause.wait(0.08)
        assert sock.recv(65536).endswith(b'{"have":1}')


def test_a_connection_may_lie_idle_between_messages(pair: Pair) -> None:
    with pair.client.session() as peer:
        peer.status("vm")
        threading.Event().wait(2 * QUICK.head_seconds)
        assert peer.status("vm").open is not None


def test_an_answer_that_comes_byte_by_byte_is_not_waited_for(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sender's end has the same patience."""
    monkeypatch.setattr("secondsite.agent.lab.engine.port.channel.PATIENCE", QUICK)
    ours, theirs = socket.socketpair()
    over = threading.Event()

    def answer() -> None:
        with contextlib.suppress(OSError):
            theirs.sendall(b"HTTP/1.1 200 ")
            while not over.wait(0.02):
                theirs.sendall(b"x")

    client = type(pair.client)("nowhere", 1, None, dial=lambda: ours, timeout_seconds=10)
    thread = threading.Thread(target=answer)
    thread.start()
    started = time.monotonic()
    try:
        with pytest.raises(LinkError, match="in time"):
            client.status("vm")
    finally:
        over.set()
        thread.join()
        theirs.close()
    assert time.monotonic() - started < 8


def connection(stack: ExitStack, port: int, source: str) -> socket.socket:
    return stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=5, source_address=(source, 0)))


def served(sock: socket.socket) -> bool:
    sock.sendall(b"GET /v1/vms/vm HTTP/1.1\r\n\r\n")
    try:
        return sock.recv(65536).startswith(b"HTTP/1.1 200")
    except ConnectionResetError:
        return False


def wait_until(condition: Callable[[], bool], seconds: float = 10) -> None:
    deadline, pause = time.monotonic() + seconds, threading.Event()
    while not condition():
        assert time.monotonic() < deadline, f"not true after {seconds} s"
        pause.wait(0.02)


def test_one_address_takes_no_more_than_its_share(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_MAX_PER_ADDRESS", 3)
    with ExitStack() as greedy:
        for _ in range(3):
            assert served(connection(greedy, pair.server.port, "127.0.0.2"))
        with ExitStack() as stack:
            assert not served(connection(stack, pair.server.port, "127.0.0.2"))
            assert served(connection(stack, pair.server.port, "127.0.0.1"))

    def free_again() -> bool:
        with ExitStack() as stack:
            return served(connection(stack, pair.server.port, "127.0.0.2"))

    wait_until(free_again)


def test_cycles_to_one_peer_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "_CYCLES", 2)
    shared, stop, never = Link(), threading.Event(), threading.Event()
    with ThreadPoolExecutor(1) as pool, ExitStack() as turns:
        turns.enter_context(shared.turn(never))
        with shared.turn(never):
            waiting = pool.submit(turns.enter_context, shared.turn(stop))
            stop.set()
            with pytest.raises(Stopped):
                waiting.result(timeout=10)
            after = pool.submit(turns.enter_context, shared.turn(never))
            assert not after.done()
        after.result(timeout=10)
