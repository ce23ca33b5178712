"""The mirror of a site against every way in which its feed may tell things."""

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from secondsite.controller.ports import Receipt
from secondsite.controller.sites import Sites
from secondsite.plan.observed import UNKNOWN
from secondsite.wire.facts import Operation, Relation
from secondsite.wire.feed import Changes, Entry, OperationEntry, RelationEntry, SiteEntry, VMEntry
from secondsite.wire.inventory import VM, Adapter, Site

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
KEY = ("recovery", "newyork")


def page(*entries: Entry, cursor: str = "a.9", **changes: Any) -> Changes:
    instance = changes.pop("instance", cursor.split(".", maxsplit=1)[0])
    known: dict[str, Any] = {"whole": False, "more": False}
    return Changes(instance=instance, cursor=cursor, time=NOW, entries=entries, **{**known, **changes})


def relation(id_: str, revision: int = 1) -> RelationEntry:
    facts = Relation(id_, "web", "Primary", "Replicating", "Normal", "chicago", NOW)
    return RelationEntry(id_, revision, facts)


def vm(id_: str, name: str = "web", address: str = "10.0.0.5") -> VMEntry:
    adapters = (Adapter("a", "00:15:5D:00:00:01", "front", "s", (address,)),)
    return VMEntry(id_, 1, VM(id_, name, "gold", "h", "Running", adapters=adapters))


def reachable() -> Sites:
    sites = Sites()
    sites.contact(KEY, NOW)
    return sites


def test_nothing_is_known_before_the_first_whole_answer_has_ended() -> None:
    sites = reachable()
    sites.take(KEY, page(relation("x"), cursor="a.5.9", whole=True, begins=True, more=True))
    assert sites.view(*KEY).half("x") is UNKNOWN
    sites.take(KEY, page(cursor="a.9", whole=True))
    assert sites.view(*KEY).half("y") is None
    assert sites.view(*KEY).half("x") == relation("x").facts


def test_what_a_whole_answer_does_not_name_is_gone() -> None:
    sites = reachable()
    sites.take(KEY, page(relation("x"), relation("y"), whole=True, begins=True))
    sites.take(KEY, page(relation("y"), cursor="b.3", whole=True, begins=True))
    assert set(sites.view(*KEY).relations) == {"y"}


def test_a_whole_answer_that_was_cut_off_counts_for_nothing() -> None:
    sites = reachable()
    sites.take(KEY, page(relation("x"), cursor="a.5.9", whole=True, begins=True, more=True))
    sites.take(KEY, page(relation("y"), cursor="b.3", whole=True, begins=True))
    assert set(sites.view(*KEY).relations) == {"y"}


def test_a_site_that_was_silent_is_believed_after_its_next_page_only() -> None:
    sites = reachable()
    sites.take(KEY, page(relation("x"), whole=True, begins=True))
    sites.contact(KEY, NOW, failure=("Timeout", "no answer"))
    sites.contact(KEY, NOW + timedelta(seconds=5))
    assert sites.view(*KEY).half("x") is UNKNOWN
    sites.take(KEY, page(cursor="a.9"))
    assert sites.view(*KEY).half("x") is not UNKNOWN


def test_a_settling_site_is_not_known() -> None:
    sites = reachable()
    sites.take(KEY, page(SiteEntry("site", 1, Site("Settling")), cursor="", settling=True, instance="a"))
    assert not sites.view(*KEY).known
    assert sites.view(*KEY).site == Site("Settling")


def test_names_and_addresses_are_indexed_as_they_come_and_go() -> None:
    sites = reachable()
    sites.take(KEY, page(vm("1"), vm("2"), whole=True, begins=True))
    view = sites.view(*KEY)
    assert view.vms_by_name["gold", "web"] == ("1", "2")
    assert view.holders["front", "10.0.0.5"] == ("1", "2")
    sites.take(KEY, page(vm("1", "db", "10.0.0.6"), VMEntry("2", 3), cursor="a.10"))
    assert view.vms_by_name == {("gold", "db"): ("1",)}
    assert view.holders == {("front", "10.0.0.6"): ("1",)}


def test_news_names_the_vm_of_an_operation() -> None:
    sites, heard = reachable(), []
    sites.subscribe(lambda key, kind, id_: heard.append((key, kind, id_)))
    operation = Operation("key", "Suspend", "i", 1, "Running", NOW, vm_id="vm")
    sites.take(KEY, page(OperationEntry("key", 1, operation), whole=True, begins=True))
    assert (KEY, "Operation", "vm") in heard
    assert sites.view(*KEY).running("vm") == (operation,)
    sites.take(KEY, page(OperationEntry("key", 2), cursor="a.10"))
    assert sites.view(*KEY).running("vm") == ()


def test_a_receipt_is_reached_at_its_revision_or_with_another_process() -> None:
    sites = reachable()
    receipt = Receipt("newyork", "a", 12)
    sites.take(KEY, page(cursor="a.11", whole=True, begins=True))
    assert not sites.reached("recovery", receipt)
    sites.take(KEY, page(cursor="a.12"))
    assert sites.reached("recovery", receipt)
    assert not sites.reached("recovery", Receipt("newyork", "b", 1)), "a process that the feed has not met yet"
    sites.take(KEY, page(cursor="b.0", whole=True, begins=True))
    assert sites.reached("recovery", Receipt("newyork", "a", 99)), "one that has ended shows nothing more"


@given(st.lists(st.tuples(st.sampled_from("xyz"), st.booleans()), max_size=20), st.booleans())
def test_the_mirror_ends_where_the_site_stands(history: list[tuple[str, bool]], restarts: bool) -> None:
    sites, truth = reachable(), {}
    sites.take(KEY, page(cursor="a.0", whole=True, begins=True))
    for revision, (id_, there) in enumerate(history, 1):
        entry = relation(id_, revision) if there else RelationEntry(id_, revision)
        truth[id_] = there
        sites.take(KEY, page(entry, cursor=f"a.{revision}"))
    if restarts:
        whole = [relation(id_) for id_, there in truth.items() if there]
        sites.take(KEY, page(*whole, cursor="b.9", whole=True, begins=True))
    assert set(sites.view(*KEY).relations) == {id_ for id_, there in truth.items() if there}
