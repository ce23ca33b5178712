"""A connection with two threads in its middle, which slow it down or break it."""

from __future__ import annotations

import contextlib
import socket
import threading

from secondsite.agent.lab.engine import TokenBucket

_PIECE_BYTES = 16384


class _Budget:
    """How many bytes of both directions together may pass."""

    def __init__(self, count: int | None) -> None:
        self._left = count
        self._lock = threading.Lock()

    def spend(self, count: int) -> bool:
        """Whether they may pass."""
        with self._lock:
            if self._left is None:
                return True
            self._left -= count
            return self._left >= 0


def relay(sock: socket.socket, breaks_after: int | None, bucket: TokenBucket) -> socket.socket:
    """A socket that stands for `sock`, which it takes over. It breaks after so many bytes; None: it does not."""
    patience = sock.gettimeout()
    far = socket.socket(fileno=sock.detach())
    far.settimeout(None)
    near, middle = socket.socketpair()
    near.settimeout(patience)
    threading.Thread(target=_run, args=(far, middle, _Budget(breaks_after), bucket), daemon=True).start()
    return near


def _run(far: socket.socket, middle: socket.socket, budget: _Budget, bucket: TokenBucket) -> None:
    with far, middle:
        back = threading.Thread(target=_pump, args=(far, middle, budget, bucket), daemon=True)
        back.start()
        _pump(middle, far, budget, bucket)
        back.join()


def _pump(source: socket.socket, sink: socket.socket, budget: _Budget, bucket: TokenBucket) -> None:
    """Until either end closes or the budget is spent; then both end."""
    never = threading.Event()
    with contextlib.suppress(OSError):
        while (piece := source.recv(_PIECE_BYTES)) and budget.spend(len(piece)):
            bucket.take(len(piece), never)
            sink.sendall(piece)
    for end in (source, sink):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
