"""When which relation works: a heap of due times and a few threads, not a thread for each relation."""

from __future__ import annotations

import heapq
import threading
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from secondsite import logs

_log = logs.get(__name__)

_THREADS = 64
# What breaks at once must not be tried at once again.
_BROKEN_SECONDS = 1.0
# The heap is made anew when it holds this many more entries than twice the works.
SPARE_ENTRIES = 1024


class Work(Protocol):
    """What is to be done for one relation, again and again."""

    group: str
    """Whose turns share places (a host); empty: nobody's."""

    def pause(self) -> float | None:
        """Seconds until the next turn is due; None: not before `wake`. Quick."""

    def turn(self) -> None:
        """Do what is due, in a thread of the pool. Never twice at the same time; raises nothing."""


class Rounds(Protocol):
    """Gives turns to works."""

    def add(self, key: str, work: Work) -> None:
        """From now on `work` gets its turns."""

    def wake(self, key: str) -> None:
        """Ask for the pause of a work again; an unknown key is no error. May be called under any lock."""

    def remove(self, key: str) -> None:
        """No turn any more; returns when a running one has ended. Not from within the turn itself."""

    def close(self) -> None:
        """End every turn; the works stop them first."""


class _Seat:
    """A work and where it stands."""

    __slots__ = ("running", "stamp", "waiting", "work")

    def __init__(self, work: Work) -> None:
        self.work = work
        self.stamp = 0
        self.running = False
        self.waiting = False


class ThreadedRounds:
    """Turns in threads, `places` of one group at a time."""

    def __init__(self, places: int, threads: int = _THREADS) -> None:
        self._places = places
        self._seats: dict[str, _Seat] = {}
        self._heap: list[tuple[float, int, str]] = []
        self._fresh: set[str] = set()
        self._taken: dict[str, int] = {}
        self._queues: dict[str, deque[tuple[str, _Seat]]] = {}
        self._change = threading.Condition()
        self._closing = False
        self._stamp = 0
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="rounds")
        self._thread = threading.Thread(target=self._run, name="rounds", daemon=True)
        self._thread.start()

    def add(self, key: str, work: Work) -> None:
        """From now on `work` gets its turns."""
        with self._change:
            self._seats[key] = _Seat(work)
            self._touch(key)

    def wake(self, key: str) -> None:
        """Ask for the pause of a work again; an unknown key is no error."""
        with self._change:
            if key in self._seats:
                self._touch(key)

    def remove(self, key: str) -> None:
        """No turn any more; returns when a running one has ended."""
        with self._change:
            seat = self._seats.pop(key, None)
            while seat is not None and seat.running:
                self._change.wait()

    def close(self) -> None:
        """End every turn."""
        with self._change:
            self._closing = True
            self._change.notify_all()
        self._thread.join()
        self._pool.shutdown()

    @property
    def queued(self) -> int:
        """Due times that are held, those included that a later look has replaced."""
        return len(self._heap)

    def _touch(self, key: str) -> None:
        self._fresh.add(key)
        self._change.notify_all()

    def _run(self) -> None:
        while True:
            with self._change:
                if self._closing:
                    return
                fresh = {key: seat for key in self._fresh if (seat := self._seats.get(key)) is not None}
                self._fresh = set()
            # Without the lock: a work asks under locks of its own, under which it may also be woken.
            pauses = {key: _pause(key, seat.work) for key, seat in fresh.items()}
            with self._change:
                for key, seat in fresh.items():
                    self._arrange(key, seat, pauses[key])
                self._start_due()
                self._forget_superseded()
                if not self._fresh and not self._closing:
                    self._change.wait(self._heap[0][0] - time.monotonic() if self._heap else None)

    def _arrange(self, key: str, seat: _Seat, pause: float | None) -> None:
        """Lock held. Note when the work is due next; what runs or waits in line comes back by itself."""
        if seat.running or seat.waiting:
            return
        self._stamp += 1
        seat.stamp = self._stamp
        if pause is not None:
            heapq.heappush(self._heap, (time.monotonic() + pause, seat.stamp, key))

    def _start_due(self) -> None:
        """Lock held."""
        while self._heap and self._heap[0][0] <= time.monotonic():
            _, stamp, key = heapq.heappop(self._heap)
            seat = self._seats.get(key)
            # A newer look at its pause has taken the place of this one.
            if seat is not None and seat.stamp == stamp and not (seat.running or seat.waiting):
                self._admit(key, seat)

    def _forget_superseded(self) -> None:
        """Lock held. A work that is woken often leaves an entry behind each time."""
        if len(self._heap) > 2 * len(self._seats) + SPARE_ENTRIES:
            self._heap = [entry for entry in self._heap if self._stamp_of(entry[2]) == entry[1]]
            heapq.heapify(self._heap)

    def _stamp_of(self, key: str) -> int:
        seat = self._seats.get(key)
        return seat.stamp if seat is not None else 0

    def _admit(self, key: str, seat: _Seat) -> None:
        group = seat.work.group
        if group and self._taken.get(group, 0) >= self._places:
            seat.waiting = True
            self._queues.setdefault(group, deque()).append((key, seat))
            return
        self._taken[group] = self._taken.get(group, 0) + 1
        seat.running, seat.waiting = True, False
        self._pool.submit(self._turn, key, seat)

    def _turn(self, key: str, seat: _Seat) -> None:
        broke = False
        try:
            seat.work.turn()
        except Exception:  # noqa: BLE001 - the last line of defence of a thread
            broke = True
            _log.exception("a turn broke", work=key)
        with self._change:
            seat.running = False
            self._leave(seat.work.group)
            if self._seats.get(key) is seat and broke:
                self._arrange(key, seat, _BROKEN_SECONDS)
            elif self._seats.get(key) is seat:
                self._fresh.add(key)
            self._change.notify_all()

    def _leave(self, group: str) -> None:
        """Lock held. The place goes to who has waited longest."""
        self._taken[group] -= 1
        queue = self._queues.get(group, deque())
        while queue and not self._closing:
            key, seat = queue.popleft()
            if self._seats.get(key) is seat:
                self._admit(key, seat)
                return


def _pause(key: str, work: Work) -> float | None:
    """A work that cannot say when it is due must not stop all others."""
    try:
        return work.pause()
    except Exception:  # noqa: BLE001 - the last line of defence of the thread that serves all of them
        _log.exception("a work could not say when it is due", work=key)
        return _BROKEN_SECONDS
