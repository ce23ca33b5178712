"""Connections that are kept between two cycles, so that a quiet VM does not cost a TLS handshake each time."""

import threading
import time
from collections import deque
from typing import NamedTuple

from secondsite.agent.lab.engine.port.channel import Channel

# Far below the silence after which the other side hangs up (`server`).
_IDLE_SECONDS = 20.0
# Who may speak is settled in the handshake: what was renewed or revoked since counts after this time.
_LONGEST_SECONDS = 60.0


class Kept(NamedTuple):
    """A connection, to whom, since when it is open and since when it is idle, by the monotonic clock."""

    peer: object
    channel: Channel
    opened: float
    idle: float


class IdleChannels:
    """At most `most` connections that nobody uses now. `peer` is whatever tells one peer from another."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._kept: deque[Kept] = deque()

    def take(self, peer: object) -> tuple[Channel, float] | None:
        """One to this peer, and since when it is open; it may have ended all the same."""
        with self._lock:
            self._drop_old()
            found = next((kept for kept in reversed(self._kept) if kept.peer == peer), None)
            if found is not None:
                self._kept.remove(found)
        return (found.channel, found.opened) if found is not None else None

    def keep(self, peer: object, channel: Channel, opened: float) -> None:
        """Take over a connection on which the last answer was read."""
        with self._lock:
            self._kept.append(Kept(peer, channel, opened, time.monotonic()))
            self._drop_old()

    def close(self) -> None:
        """End all; none is kept from now on."""
        with self._lock:
            self._most = 0
            self._drop_old()

    def _drop_old(self) -> None:
        """Lock held."""
        now = time.monotonic()
        fresh = [
            kept for kept in self._kept if now - kept.idle < _IDLE_SECONDS and now - kept.opened < _LONGEST_SECONDS
        ]
        stay = fresh[-self._most :] if self._most else []
        for kept in self._kept:
            if kept not in stay:
                kept.channel.close()
        self._kept = deque(stay)
