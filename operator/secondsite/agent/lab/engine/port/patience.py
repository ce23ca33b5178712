"""How slowly a peer may speak. A socket's timeout bounds silence only: a byte now and then would hold us for ever."""

import contextlib
import math
import time
from collections.abc import Iterator

import msgspec


class Patience(msgspec.Struct, frozen=True, kw_only=True):
    """A head and a message must be whole in so many seconds from their first byte on.

    Frames may take hours, for 64 streams may share a limit of 64 KiB/s: but in each window at least some bytes come.
    """

    head_seconds: float = 10
    body_seconds: float = 60
    window_seconds: float = 60
    window_bytes: int = 4096


PATIENCE = Patience()


class Pace:
    """Watches what comes over one connection. TimeoutError when it is too slow."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._deadline = math.inf
        self._window_end = math.inf
        self._window_bytes = 0

    @contextlib.contextmanager
    def whole(self, seconds: float) -> Iterator[None]:
        """What is read inside must be whole in so many seconds."""
        self._deadline = time.monotonic() + seconds
        try:
            yield
        finally:
            self._deadline = math.inf

    @contextlib.contextmanager
    def flowing(self) -> Iterator[None]:
        """What is read inside may take its time, but not stand still."""
        self._begin_window()
        try:
            yield
        finally:
            self._window_end = math.inf

    def came(self, count: int) -> None:
        """`count` bytes were read."""
        now = time.monotonic()
        if now > self._deadline:
            raise TimeoutError("a message did not become whole in time")
        self._window_bytes += count
        if now > self._window_end:
            if self._window_bytes < self._patience.window_bytes:
                raise TimeoutError(f"only {self._window_bytes} bytes came in {self._patience.window_seconds:g} s")
            self._begin_window()

    def _begin_window(self) -> None:
        self._window_bytes = 0
        self._window_end = time.monotonic() + self._patience.window_seconds
