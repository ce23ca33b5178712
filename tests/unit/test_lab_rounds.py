"""Who gets a turn, and when: the heap of due times behind all relations of a lab site."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from secondsite.agent.lab import rounds
from secondsite.agent.lab.rounds import ThreadedRounds

_DEADLINE_SECONDS = 20.0


class Chore:
    """A work that counts its turns: `due` many are wanted, each lasts until `go` is set."""

    def __init__(self, group: str = "", due: int = 0, then: Callable[[Chore], None] | None = None) -> None:
        self.group = group
        self.due = due
        self.turns = 0
        self.asked = 0
        self.started: list[float] = []
        self.together = 0
        self.most_together = 0
        self.go = threading.Event()
        self.go.set()
        self._then = then
        self._lock = threading.Lock()

    def asked_times(self, count: int) -> Callable[[], bool]:
        return lambda: self.asked >= count

    def pause(self) -> float | None:
        self.asked += 1
        return 0 if self.turns < self.due else None

    def turn(self) -> None:
        with self._lock:
            self.started.append(time.monotonic())
            self.together += 1
            self.most_together = max(self.most_together, self.together)
        self.go.wait(_DEADLINE_SECONDS)
        with self._lock:
            self.together -= 1
            self.turns += 1
        if self._then is not None:
            self._then(self)


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + _DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < end, "the condition did not come true in time"
        threading.Event().wait(0.005)


@pytest.fixture
def turns() -> Iterator[ThreadedRounds]:
    opened = ThreadedRounds(2)
    yield opened
    opened.close()


def test_a_work_gets_its_turns_as_long_as_it_says_so(turns: ThreadedRounds) -> None:
    chore = Chore(due=5)
    turns.add("a", chore)
    until(lambda: chore.turns == 5)
    asked = chore.asked
    turns.wake("a")
    until(lambda: chore.asked > asked)
    assert chore.turns == 5
    chore.due = 6
    turns.wake("a")
    until(lambda: chore.turns == 6)


def test_what_is_due_later_is_not_done_now_and_a_wake_brings_it_forward(turns: ThreadedRounds) -> None:
    class Later(Chore):
        wait = 600.0

        def pause(self) -> float | None:
            self.asked += 1
            return None if self.turns else self.wait

    later, soon = Later(), Later()
    soon.wait = 0.05
    turns.add("later", later)
    turns.add("soon", soon)
    until(lambda: soon.turns == 1)
    assert later.turns == 0
    later.wait = 0
    turns.wake("later")
    until(lambda: later.turns == 1)


def test_nobody_has_two_turns_at_once_however_often_it_is_woken(turns: ThreadedRounds) -> None:
    chore = Chore(due=10**9)
    turns.add("a", chore)
    while chore.turns < 300:
        turns.wake("a")
    chore.due = 0
    assert chore.most_together == 1


def test_a_wake_during_a_turn_is_not_lost(turns: ThreadedRounds) -> None:
    chore = Chore(due=1)
    chore.go.clear()
    turns.add("a", chore)
    until(lambda: chore.together == 1)
    chore.due = 2
    turns.wake("a")
    chore.go.set()
    until(lambda: chore.turns == 2)


def test_a_group_has_as_many_places_as_it_was_given_and_gives_them_in_turn(turns: ThreadedRounds) -> None:
    order: list[str] = []

    def noted(name: str) -> Callable[[Chore], None]:
        return lambda _: order.append(name)

    chores = {name: Chore("host", due=3, then=noted(name)) for name in "abcdef"}
    for chore in chores.values():
        chore.go.clear()
    for name, chore in chores.items():
        turns.add(name, chore)
    until(lambda: sum(chore.together for chore in chores.values()) == 2)
    elsewhere, nobodys = Chore("other host", due=1), Chore(due=1)
    turns.add("elsewhere", elsewhere)
    turns.add("nobody's", nobodys)
    until(lambda: elsewhere.turns == nobodys.turns == 1)
    assert sum(chore.together for chore in chores.values()) == 2
    for chore in chores.values():
        chore.go.set()
    until(lambda: len(order) == 18)
    # All had a turn before anyone had a third: who had one goes to the end of the line.
    third = min(index for index, name in enumerate(order) if order[:index].count(name) == 2)
    assert set(order[:third]) == set(chores)


def test_remove_waits_for_the_turn_that_runs_and_no_other_follows(turns: ThreadedRounds) -> None:
    chore = Chore("host", due=10**9)
    chore.go.clear()
    turns.add("a", chore)
    until(lambda: chore.together == 1)
    removed = threading.Event()

    def remove() -> None:
        turns.remove("a")
        removed.set()

    thread = threading.Thread(target=remove)
    thread.start()
    assert not removed.wait(0.1)
    chore.go.set()
    assert removed.wait(_DEADLINE_SECONDS)
    thread.join()
    done = chore.turns
    turns.wake("a")
    turns.remove("a")
    follower = Chore("host", due=1)
    turns.add("b", follower)
    until(lambda: follower.turns == 1)
    assert chore.turns == done


def test_who_waits_in_line_and_is_removed_leaves_its_place_to_the_next(turns: ThreadedRounds) -> None:
    holders = [Chore("host", due=1) for _ in range(2)]
    waiting, next_ = Chore("host", due=1), Chore("host", due=1)
    for number, holder in enumerate(holders):
        holder.go.clear()
        turns.add(f"holder-{number}", holder)
    until(lambda: all(holder.together for holder in holders))
    turns.add("waiting", waiting)
    until(lambda: waiting.asked > 0)
    turns.add("next", next_)
    until(lambda: next_.asked > 0)
    turns.remove("waiting")
    for holder in holders:
        holder.go.set()
    until(lambda: next_.turns == 1)
    assert waiting.turns == 0


def test_a_turn_that_raises_is_tried_again_but_not_at_once(
    turns: ThreadedRounds, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rounds, "_BROKEN_SECONDS", 0.2)

    def fail(chore: Chore) -> None:
        if chore.turns < 3:
            raise OSError("the disk is gone")

    chore, other = Chore("host", due=3, then=fail), Chore("host", due=1)
    turns.add("a", chore)
    until(lambda: chore.turns == 3)
    assert all(later - earlier >= 0.19 for earlier, later in zip(chore.started, chore.started[1:], strict=False))
    turns.add("other", other)
    until(lambda: other.turns == 1)


def test_a_work_that_cannot_say_when_it_is_due_stops_no_other(
    turns: ThreadedRounds, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rounds, "_BROKEN_SECONDS", 0.05)

    class Dumb(Chore):
        def pause(self) -> float | None:
            self.asked += 1
            raise ValueError("no half")

    dumb, other = Dumb(), Chore(due=2)
    turns.add("dumb", dumb)
    turns.add("other", other)
    until(lambda: other.turns == 2)
    # After the pause it has a turn, finds out for itself, and is asked again.
    until(lambda: dumb.asked > 1)


def test_close_waits_for_the_turns_that_run() -> None:
    opened, chore = ThreadedRounds(2), Chore(due=10**9)
    chore.go.clear()
    opened.add("a", chore)
    until(lambda: chore.together == 1)
    closed = threading.Event()

    def close() -> None:
        opened.close()
        closed.set()

    thread = threading.Thread(target=close)
    thread.start()
    assert not closed.wait(0.1)
    chore.go.set()
    assert closed.wait(_DEADLINE_SECONDS)
    thread.join()
    assert chore.together == 0
    assert not any(running.name.startswith("rounds") for running in threading.enumerate())


def test_ten_thousand_works_that_are_not_due_cost_nothing(turns: ThreadedRounds) -> None:
    chores = [Chore(f"host-{number % 50}") for number in range(10_000)]
    for number, chore in enumerate(chores):
        turns.add(str(number), chore)
    until(lambda: all(chore.asked for chore in chores))
    before = time.process_time()
    threading.Event().wait(0.5)
    assert time.process_time() - before < 0.1


def test_a_work_that_is_woken_ever_again_leaves_no_heap_behind(
    turns: ThreadedRounds, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rounds, "SPARE_ENTRIES", 16)

    class Patient(Chore):
        def pause(self) -> float | None:
            self.asked += 1
            return 600.0

    chore = Patient()
    turns.add("a", chore)
    for asked in range(1, 60):
        until(chore.asked_times(asked))
        turns.wake("a")
    assert turns.queued <= rounds.SPARE_ENTRIES + 2
