"""The catalogue: what the cluster wants, whatever the order in which lists, watches and answers tell it."""

from __future__ import annotations

from typing import Any

import pytest

from secondsite.api.kind import Kind
from secondsite.api.kinds import ALL_KINDS
from secondsite.controller.catalogue import Catalogue, Change
from secondsite.controller.conditions import fingerprint
from secondsite.controller.ports import Key
from secondsite.controller.references import references

KINDS: dict[str, Kind[Any, Any]] = {kind.name: kind for kind in ALL_KINDS}
NAMESPACE = "recovery"


def ref(name: str) -> dict[str, Any]:
    return {"siteRef": {"name": name}, "cloud": "gold"}


SPECS: dict[str, dict[str, Any]] = {
    "RecoveryVault": {},
    "VMMSite": {"vaultRef": {"name": "vault"}, "endpoint": "https://newyork:8443"},
    "ReplicationPolicy": {"cloudPairs": [{"source": ref("newyork"), "target": ref("chicago")}]},
    "NetworkMapping": {
        "source": {"siteRef": {"name": "newyork"}, "network": "red"},
        "target": {"siteRef": {"name": "chicago"}, "network": "blue"},
        "addressMode": "DHCP",
    },
    "ProtectedVM": {"vm": {**ref("newyork"), "name": "web"}, "policyRef": {"name": "gold"}},
    "TestFailover": {"protectedVMRefs": [{"name": "web"}]},
}


def body(kind: str, name: str, version: int = 1, **more: Any) -> dict[str, Any]:
    metadata = {
        "name": name,
        "namespace": NAMESPACE,
        "uid": more.get("uid", f"uid-{name}"),
        "resourceVersion": str(version),
        "generation": more.get("generation", 1),
        "creationTimestamp": "2026-11-21T10:00:00Z",
        "finalizers": more.get("finalizers", []),
    }
    if more.get("deleting"):
        metadata["deletionTimestamp"] = "2026-11-21T11:00:00Z"
    return {"metadata": metadata, "spec": more.get("spec", SPECS[kind]), "status": more.get("status", {})}


class Heard:
    """A catalogue, and what it told."""

    def __init__(self) -> None:
        self.changes: list[tuple[str, Change]] = []
        self.catalogue = Catalogue(lambda key, change: self.changes.append((key.name, change)))

    def take(self, kind: str, name: str, version: int = 1, **more: Any) -> list[Change]:
        """The changes that this object causes."""
        before = len(self.changes)
        self.catalogue.take(KINDS[kind], body(kind, name, version, **more))
        return [change for _, change in self.changes[before:]]


def key(kind: str, name: str) -> Key:
    return Key(kind, NAMESPACE, name)


def test_every_reference_of_every_kind_is_known() -> None:
    found = {kind: references(NAMESPACE, KINDS[kind].spec.model_validate(spec)) for kind, spec in SPECS.items()}
    assert {kind: {(other.kind, other.name) for other in keys} for kind, keys in found.items()} == {
        "RecoveryVault": set(),
        "VMMSite": {("RecoveryVault", "vault")},
        "ReplicationPolicy": {("VMMSite", "newyork"), ("VMMSite", "chicago")},
        "NetworkMapping": {("VMMSite", "newyork"), ("VMMSite", "chicago")},
        "ProtectedVM": {("VMMSite", "newyork"), ("ReplicationPolicy", "gold")},
        "TestFailover": {("ProtectedVM", "web")},
    }


def test_references_are_found_in_both_directions_whoever_comes_first() -> None:
    heard = Heard()
    for kind, name in [("TestFailover", "drill"), ("ProtectedVM", "web"), ("ReplicationPolicy", "gold")]:
        heard.take(kind, name)
    graph = heard.catalogue.graph
    vm, site = key("ProtectedVM", "web"), key("VMMSite", "chicago")
    assert graph.below(site) == {key("ReplicationPolicy", "gold"), vm, key("TestFailover", "drill")}
    assert graph.above(vm) == {key("ReplicationPolicy", "gold"), key("VMMSite", "newyork"), site}
    heard.catalogue.remove(vm)
    assert graph.below(site) == {key("ReplicationPolicy", "gold")}


@pytest.mark.parametrize(
    "more",
    [
        {"generation": 2},
        {"deleting": True},
        {"finalizers": ["secondsite.dev/release"]},
        {"uid": "another"},
    ],
)
def test_another_wish_is_news_whatever_it_differs_in(more: dict[str, Any]) -> None:
    heard = Heard()
    heard.take("ProtectedVM", "web", 1)
    assert heard.take("ProtectedVM", "web", 2, **more) == [Change.WISH]
    found = heard.catalogue.object(key("ProtectedVM", "web"))
    assert found is not None
    assert found.deleting == more.get("deleting", False)
    assert found.uid == more.get("uid", "uid-web")


def test_the_same_wish_again_is_no_news() -> None:
    heard = Heard()
    heard.take("ProtectedVM", "web", 1)
    assert heard.take("ProtectedVM", "web", 1) == []
    assert heard.take("ProtectedVM", "web", 7) == []


def test_an_older_version_changes_nothing() -> None:
    heard = Heard()
    heard.take("ProtectedVM", "web", 10, generation=2)
    assert heard.take("ProtectedVM", "web", 9, generation=1) == []
    entry = heard.catalogue.get(key("ProtectedVM", "web"))
    assert entry is not None
    assert entry.generation == 2


def test_a_spec_that_cannot_be_read_is_kept_and_says_why() -> None:
    heard = Heard()
    assert heard.take("ProtectedVM", "web", 1, spec={"policyRef": {"name": "gold"}}) == [Change.WISH]
    entry = heard.catalogue.get(key("ProtectedVM", "web"))
    assert entry is not None
    assert entry.object is None
    assert "vm" in entry.fault
    assert heard.take("ProtectedVM", "web", 2, generation=2) == [Change.WISH]
    assert entry.object is not None
    assert entry.fault == ""


def test_a_spec_that_becomes_unreadable_still_holds_what_it_used() -> None:
    heard = Heard()
    heard.take("ProtectedVM", "web", 1)
    heard.take("ProtectedVM", "web", 2, generation=2, spec={})
    assert heard.catalogue.graph.referrers(key("ReplicationPolicy", "gold")) == {key("ProtectedVM", "web")}


def test_what_a_list_does_not_name_any_more_is_gone() -> None:
    heard = Heard()
    heard.take("ProtectedVM", "web")
    heard.take("ProtectedVM", "sql")
    known = heard.catalogue.begin_list("ProtectedVM")
    heard.take("ProtectedVM", "sql")
    heard.catalogue.end_list("ProtectedVM", known, {"uid-sql"})
    assert heard.changes[-1] == ("web", Change.GONE)
    assert [entry.key.name for entry in heard.catalogue.entries()] == ["sql"]


def test_what_came_while_a_list_ran_is_not_gone_though_it_was_not_listed() -> None:
    heard = Heard()
    known = heard.catalogue.begin_list("ProtectedVM")
    heard.take("ProtectedVM", "web")
    heard.catalogue.end_list("ProtectedVM", known, set())
    assert heard.catalogue.get(key("ProtectedVM", "web")) is not None


def test_what_went_while_a_list_ran_does_not_come_back_by_an_old_page() -> None:
    heard = Heard()
    heard.take("ProtectedVM", "web", 5)
    known = heard.catalogue.begin_list("ProtectedVM")
    heard.catalogue.remove(key("ProtectedVM", "web"), "uid-web")
    heard.take("ProtectedVM", "web", 5)
    heard.catalogue.end_list("ProtectedVM", known, {"uid-web"})
    assert heard.catalogue.get(key("ProtectedVM", "web")) is None
    heard.take("ProtectedVM", "web", 9, uid="reborn")
    assert heard.catalogue.get(key("ProtectedVM", "web")) is not None


def test_a_late_farewell_does_not_remove_a_namesake() -> None:
    heard = Heard()
    heard.take("ProtectedVM", "web", 5, uid="second")
    heard.catalogue.remove(key("ProtectedVM", "web"), "first")
    assert heard.catalogue.get(key("ProtectedVM", "web")) is not None


OURS = {"state": "Protected", "conditions": [{"type": "Ready", "status": "True", "reason": "Protected"}]}


def write(heard: Heard, version: int) -> None:
    """As the writer does when the API server has taken its status."""
    kind, entry = KINDS["ProtectedVM"], heard.catalogue.get(key("ProtectedVM", "web"))
    assert entry is not None
    entry.writing = True
    heard.catalogue.wrote(kind, entry, body("ProtectedVM", "web", version, status=OURS), fingerprint(OURS))
    entry.writing = False


def test_our_own_status_is_no_news_whether_the_watch_or_the_answer_is_first() -> None:
    heard = Heard()
    heard.take("ProtectedVM", "web", 1)
    write(heard, 2)
    assert heard.take("ProtectedVM", "web", 2, status=OURS) == []

    entry = heard.catalogue.get(key("ProtectedVM", "web"))
    assert entry is not None
    entry.writing = True
    assert heard.take("ProtectedVM", "web", 3, status={"state": "Error"}) == []
    heard.catalogue.wrote(KINDS["ProtectedVM"], entry, body("ProtectedVM", "web", 3, status={"state": "Error"}), None)
    assert heard.changes == [("web", Change.WISH)]


@pytest.mark.parametrize("status", [{}, {"state": "Pending"}, {**OURS, "vmID": "x"}])
def test_a_status_that_is_not_ours_is_news(status: dict[str, Any]) -> None:
    heard = Heard()
    heard.take("ProtectedVM", "web", 1)
    write(heard, 2)
    assert heard.take("ProtectedVM", "web", 3, status=status) == [Change.STATUS]


def test_a_strange_status_seen_during_our_write_is_news_after_it() -> None:
    heard = Heard()
    heard.take("ProtectedVM", "web", 1)
    entry = heard.catalogue.get(key("ProtectedVM", "web"))
    assert entry is not None
    entry.writing = True
    heard.take("ProtectedVM", "web", 9, status={"state": "Pending"})
    heard.catalogue.wrote(KINDS["ProtectedVM"], entry, body("ProtectedVM", "web", 8, status=OURS), fingerprint(OURS))
    assert heard.changes[-1] == ("web", Change.STATUS)


def test_a_new_wish_in_the_answer_to_our_write_is_not_lost() -> None:
    heard = Heard()
    heard.take("ProtectedVM", "web", 1)
    entry = heard.catalogue.get(key("ProtectedVM", "web"))
    assert entry is not None
    answer = body("ProtectedVM", "web", 5, generation=2, status=OURS)
    heard.catalogue.wrote(KINDS["ProtectedVM"], entry, answer, fingerprint(OURS))
    assert heard.changes[-1] == ("web", Change.WISH)
    assert heard.take("ProtectedVM", "web", 4, generation=2) == []
    assert entry.generation == 2


def test_an_earlier_process_left_its_verdict_in_the_status() -> None:
    heard = Heard()
    status = {
        "state": "Protected",
        "rpoTargetSeconds": 90,
        "lastRecoveryPoint": {"sourceTime": "2026-11-21T10:00:00Z", "basis": "Freeze", "type": "Regular"},
        "replica": {"site": "chicago", "health": "Warning"},
        "networkAdapters": [{"name": "nic"}],
        "conditions": [{"type": "Protected", "status": "True", "reason": "Protected"}],
    }
    heard.take("ProtectedVM", "web", 1, status=status)
    entry = heard.catalogue.get(key("ProtectedVM", "web"))
    assert entry is not None
    assert entry.verdict.rpo_target_seconds == 90
    assert entry.verdict.point_time is not None
    assert entry.verdict.point_time.isoformat() == "2026-11-21T10:00:00+00:00"
    assert (entry.verdict.health, entry.verdict.conditions) == ("Warning", {"Protected": "True"})
    assert "networkAdapters" not in entry.memory
