"""Places for limited commands: never more than the limit, first the important, then the old."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from secondsite.controller.ports import Key
from secondsite.controller.slots import Line, Place, Slots
from secondsite.plan.actions import Limit, Slot

BIRTH = datetime(2026, 11, 21, tzinfo=UTC)
LINE = Line.of("recovery", Slot(Limit.INITIAL_REPLICATIONS, ("newyork", "chicago")))


def key(name: str) -> Key:
    return Key("ProtectedVM", "recovery", name)


@dataclass
class World:
    """The facts: which VMs are seen to run."""

    running: set[str] = field(default_factory=set)
    slots: Slots = field(init=False)

    def __post_init__(self) -> None:
        self.slots = Slots(lambda _line: frozenset(self.running))

    def ask(self, name: str, *, priority: int = 50, age: int = 0, capacity: int = 2) -> Place | None:
        born = BIRTH - timedelta(seconds=age)
        return self.slots.ask(LINE, key(name), name, priority=priority, created=born, uid=name, capacity=capacity)


def test_both_directions_between_two_sites_share_one_line() -> None:
    assert Line.of("recovery", Slot(Limit.INITIAL_REPLICATIONS, ("chicago", "newyork"))) == LINE
    assert Line.of("other", Slot(Limit.INITIAL_REPLICATIONS, ("chicago", "newyork"))) != LINE


def test_as_many_pass_as_the_limit_allows_and_the_others_learn_their_place() -> None:
    world = World()
    assert [world.ask(name, age=-n) for n, name in enumerate("abcd")] == [None, None, Place(1, 1), Place(2, 2)]


def test_a_grant_counts_before_and_after_the_facts_show_it_but_not_twice() -> None:
    world = World()
    assert world.ask("a") is None
    world.running.add("a")
    assert world.ask("b") is None
    assert world.ask("c") == Place(1, 1)
    world.slots.seen(LINE, key("a"), "a")
    assert world.ask("c") == Place(1, 1)
    world.running.discard("a")
    assert world.ask("c") is None


def test_asking_again_does_not_take_a_second_place() -> None:
    world = World()
    assert world.ask("a", capacity=2) is None
    assert world.ask("a", capacity=2) is None
    assert world.ask("b", capacity=2) is None


def test_priority_counts_before_age_and_age_before_name() -> None:
    world = World({"x", "y"})
    asked = {"late": (50, 0), "old": (50, 9), "urgent": (90, 0), "b": (50, 5), "a": (50, 5)}
    for name, (priority, age) in asked.items():
        world.ask(name, priority=priority, age=age)
    places = {name: world.ask(name, priority=p, age=a) for name, (p, a) in asked.items()}
    order = sorted(places, key=lambda name: places[name].number if places[name] else 0)  # type: ignore[union-attr]
    assert order == ["urgent", "old", "a", "b", "late"]
    world.running.discard("x")
    assert world.slots.callable() == {key("urgent")}
    assert world.ask("late") == Place(5, 5)
    assert world.ask("urgent", priority=90) is None


def test_who_withdraws_makes_room_for_the_next() -> None:
    world = World({"x", "y"})
    world.ask("first", priority=90)
    world.ask("second")
    world.running.clear()
    world.slots.withdraw(key("first"))
    assert world.slots.callable() == {key("second")}
    assert world.ask("second") is None


def test_what_a_turn_asked_for_again_is_kept() -> None:
    world = World({"x", "y"})
    world.ask("a")
    world.slots.withdraw(key("a"), frozenset({(LINE, "a")}))
    world.running.clear()
    assert world.slots.callable() == {key("a")}


def test_a_smaller_limit_stops_nobody_who_runs_and_starts_nobody_new() -> None:
    world = World({"a", "b", "c"})
    assert world.ask("d", capacity=1) == Place(1, 1)
    world.running = {"a"}
    assert world.ask("d", capacity=1) == Place(1, 1)
    world.running = set()
    assert world.ask("d", capacity=1) is None


Step = tuple[str, str, int]
STEPS: st.SearchStrategy[Step] = st.tuples(
    st.sampled_from(["ask", "appear", "seen", "end", "withdraw"]), st.sampled_from("abcdef"), st.integers(0, 100)
)


@given(st.lists(STEPS, max_size=60), st.integers(1, 3))
def test_never_more_at_once_than_the_limit(steps: list[Step], capacity: int) -> None:
    world = World()
    granted: set[str] = set()

    def ask(name: str, priority: int) -> None:
        if world.ask(name, priority=priority, capacity=capacity) is None:
            granted.add(name)

    def appear(name: str, _: int) -> None:
        if name in granted:
            world.running.add(name)

    def seen(name: str, _: int) -> None:
        if name in granted:
            granted.discard(name)
            world.slots.seen(LINE, key(name), name)

    does: dict[str, Callable[[str, int], None]] = {
        "ask": ask,
        "appear": appear,
        "seen": seen,
        "end": lambda name, _: world.running.discard(name),
        "withdraw": lambda name, _: world.slots.withdraw(key(name)),
    }
    for what, name, number in steps:
        does[what](name, number)
        assert len(granted | world.running) <= capacity
