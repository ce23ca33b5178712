"""Conditions: how parts fold into Ready, and when two commands are one wish."""

import pytest

from secondsite.plan.actions import Finding
from secondsite.plan.conditions import earliest, finding, first, fold, named, not_implemented
from secondsite.plan.intents import changes, intent, same_wish
from secondsite.wire.arguments import Nothing, StopTestFailover
from secondsite.wire.facts import Ledger
from secondsite.wire.operations import Request
from support import worlds as w
from support.worlds import NOW, VM_ID


def part(status: str) -> Finding:
    return Finding(f"Part{status}", status, f"Because{status}", f"it is {status}")


@pytest.mark.parametrize(
    ("parts", "status"),
    [
        (("True", "True"), "True"),
        ((), "True"),
        (("True", "Unknown"), "Unknown"),
        (("Unknown", "False", "True"), "False"),
    ],
)
def test_ready_is_the_worst_of_its_parts(parts: tuple[str, ...], status: str) -> None:
    ready = fold([part(each) for each in parts], "all is well")
    assert (ready.type, ready.status) == ("Ready", status)
    expected = ("Ready", "all is well") if status == "True" else (f"Because{status}", f"it is {status}")
    assert (ready.reason, ready.message) == expected


def test_a_chain_stops_at_the_first_that_speaks() -> None:
    asked: list[str] = []

    def check(name: str, answer: str | None) -> object:
        def ask(_: str) -> str | None:
            asked.append(name)
            return answer

        return ask

    chain = [check("a", None), check("b", "no"), check("c", "never")]
    assert first(chain, "subject") == "no"  # type: ignore[arg-type] # a list of closures
    assert asked == ["a", "b"]


def test_what_is_not_built_is_false_and_says_so() -> None:
    assert not_implemented("Protected", "later") == finding("Protected", False, "NotImplemented", "later")
    assert finding("Protected", None, "SiteUnreachable").status == "Unknown"


def test_lists_for_people_end() -> None:
    assert named("abc") == "a, b, c"
    assert named("abcdefg", 2) == "a, b and 5 more"


def test_the_earliest_moment_wins_and_none_is_none() -> None:
    assert earliest(None, NOW) == NOW
    assert earliest(None) is None


def test_the_same_wish_after_a_change_is_another_intent() -> None:
    before = w.target_view(ledgers={VM_ID: Ledger(VM_ID, changes=3)})
    after = w.target_view(ledgers={VM_ID: Ledger(VM_ID, changes=4)})
    assert (changes(before, VM_ID), changes(w.target_view(), VM_ID)) == (3, 0)
    one, other = intent(Nothing(), before, VM_ID), intent(Nothing(), after, VM_ID)
    assert one != other
    assert same_wish(one, other)
    assert not same_wish(one, intent(StopTestFailover(owner="t"), before, VM_ID))


def test_a_request_is_one_intent_for_ever() -> None:
    request = Request(name="synchronize", token="t1")
    for changed in (1, 2):
        view = w.target_view(ledgers={VM_ID: Ledger(VM_ID, changes=changed)})
        assert intent(Nothing(), view, VM_ID, request) == "synchronize:t1"
