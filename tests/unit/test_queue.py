"""The work queue: each key once, in order, never twice at work, never forgotten, never resurrected."""

from __future__ import annotations

import random
from collections import Counter

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from secondsite.controller.ports import Key
from secondsite.controller.queue import FIRST_DELAY, JITTER, LONGEST_DELAY, WorkQueue

KEYS = [Key("ProtectedVM", "recovery", f"vm-{n}") for n in range(6)]


def drain(queue: WorkQueue) -> list[Key]:
    taken: list[Key] = []
    while (key := queue.take()) is not None:
        taken.append(key)
        queue.done(key)
    return taken


def test_a_key_that_is_added_often_is_taken_once() -> None:
    queue = WorkQueue()
    for _ in range(5):
        queue.add(KEYS[0])
    queue.add(KEYS[1])
    assert len(queue) == 2
    assert drain(queue) == [KEYS[0], KEYS[1]]


def test_ready_keys_are_taken_by_rank_and_then_in_order_of_arrival() -> None:
    ranks = {KEYS[0]: (2,), KEYS[1]: (1,), KEYS[2]: (1,), KEYS[3]: (0,)}
    queue = WorkQueue(ranks.__getitem__)
    for key in KEYS[:4]:
        queue.add(key)
    assert drain(queue) == [KEYS[3], KEYS[1], KEYS[2], KEYS[0]]


def test_a_key_that_gets_dirty_while_busy_gets_another_turn_after_it() -> None:
    queue = WorkQueue()
    queue.add(KEYS[0])
    assert queue.take() == KEYS[0]
    queue.add(KEYS[0])
    assert queue.take() is None
    queue.done(KEYS[0])
    assert queue.take() == KEYS[0]


def test_the_earliest_time_that_was_asked_for_counts() -> None:
    queue = WorkQueue()
    queue.later(KEYS[0], 10.0)
    queue.later(KEYS[0], 5.0)
    queue.later(KEYS[0], 20.0)
    assert queue.wake_due(4.9) == 5.0
    assert queue.wake_due(5.0) is None
    assert drain(queue) == [KEYS[0]]


def test_a_turn_clears_the_time_that_was_due() -> None:
    queue = WorkQueue()
    queue.later(KEYS[0], 10.0)
    queue.add(KEYS[0])
    drain(queue)
    assert queue.wake_due(11.0) is None
    assert drain(queue) == []


def test_a_forgotten_key_gets_no_turn() -> None:
    queue = WorkQueue()
    queue.add(KEYS[0])
    queue.later(KEYS[1], 1.0)
    queue.forget(KEYS[0])
    queue.forget(KEYS[1])
    queue.wake_due(2.0)
    assert drain(queue) == []
    assert len(queue) == 0


def test_a_key_that_was_forgotten_and_came_back_is_still_never_at_work_twice() -> None:
    queue = WorkQueue()
    queue.add(KEYS[0])
    queue.forget(KEYS[0])
    queue.add(KEYS[0])
    assert queue.take() == KEYS[0]
    queue.add(KEYS[0])
    assert queue.take() is None
    queue.done(KEYS[0])
    assert drain(queue) == [KEYS[0]]


def test_delays_after_failures_double_to_the_longest_and_start_again_after_a_success() -> None:
    queue = WorkQueue(chance=random.Random(1))
    now, delays = 0.0, []
    for _ in range(12):
        delays.append(queue.failed(KEYS[0], now))
        now += delays[-1]
    wanted = [min(FIRST_DELAY * 2**n, LONGEST_DELAY) for n in range(12)]
    assert all(want <= delay <= want * (1 + JITTER) for want, delay in zip(wanted, delays, strict=True))
    queue.succeeded(KEYS[0])
    assert queue.failed(KEYS[0], now) < 2 * FIRST_DELAY


def test_failures_that_news_brought_on_do_not_lengthen_the_delay() -> None:
    queue = WorkQueue(chance=random.Random(1))
    first = queue.failed(KEYS[0], 0.0)
    assert [queue.failed(KEYS[0], first / 2) for _ in range(20)] == [first / 2] * 20


def test_jitter_spreads_a_herd() -> None:
    queue = WorkQueue(chance=random.Random(1))
    assert len({round(queue.spread(100.0), 3) for _ in range(50)}) > 40


def test_times_that_are_superseded_do_not_fill_the_memory() -> None:
    queue = WorkQueue()
    for turn in range(10_000):
        queue.later(KEYS[0], turn + 3600.0)
        queue.add(KEYS[0])
        drain(queue)
    assert len(queue._heap) < 200


class Model(RuleBasedStateMachine):
    """The queue beside what it ought to do."""

    def __init__(self) -> None:
        super().__init__()
        self.queue = WorkQueue()
        self.now = 0.0
        self.dirty: set[Key] = set()
        self.busy: set[Key] = set()
        self.due: dict[Key, float] = {}

    @rule(key=st.sampled_from(KEYS))
    def add(self, key: Key) -> None:
        self.queue.add(key)
        self.dirty.add(key)

    @rule(key=st.sampled_from(KEYS), delay=st.floats(0, 10))
    def later(self, key: Key, delay: float) -> None:
        self.queue.later(key, self.now + delay)
        self.due[key] = min(self.due.get(key, float("inf")), self.now + delay)

    @rule(seconds=st.floats(0, 5))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        wake = {key for key, when in self.due.items() if when <= self.now}
        self.dirty |= wake
        self.due = {key: when for key, when in self.due.items() if key not in wake}
        assert self.queue.wake_due(self.now) == min(self.due.values(), default=None)

    @rule()
    def take(self) -> None:
        key = self.queue.take()
        if key is None:
            assert not self.dirty - self.busy
            return
        assert key in self.dirty
        assert key not in self.busy
        self.dirty.discard(key)
        self.due.pop(key, None)
        self.busy.add(key)

    @rule(key=st.sampled_from(KEYS))
    def done(self, key: Key) -> None:
        if key in self.busy:
            self.queue.done(key)
            self.busy.discard(key)

    @rule(key=st.sampled_from(KEYS))
    def forget(self, key: Key) -> None:
        self.queue.forget(key)
        self.dirty.discard(key)
        self.due.pop(key, None)

    @invariant()
    def counts_agree(self) -> None:
        assert len(self.queue) == len(self.dirty - self.busy)
        assert self.queue.busy == self.busy


def test_the_queue_does_what_the_model_says() -> None:
    run_state_machine_as_test(Model, settings=settings(max_examples=150, stateful_step_count=40, deadline=None))


def test_ten_thousand_keys_each_get_one_turn() -> None:
    queue = WorkQueue()
    keys = [Key("ProtectedVM", "recovery", f"vm-{n}") for n in range(10_000)]
    for key in keys + keys:
        queue.add(key)
    assert Counter(drain(queue)) == Counter(keys)
