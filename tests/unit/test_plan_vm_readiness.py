"""What keeps a VM from being protected: each obstacle is named, and nothing is done."""

from dataclasses import replace

import pytest

from secondsite.plan.actions import Command, Plan
from secondsite.plan.observed import VMWorld
from secondsite.plan.protectedvm.decide import plan
from secondsite.plan.protectedvm.judge import judge
from secondsite.wire.facts import Owner
from secondsite.wire.inventory import Adapter
from support import worlds as w
from support.simulated_sites import settle
from support.worlds import MAC, VM_ID, world


def verbs(made: Plan) -> list[str]:
    return [action.verb.value for action in made.actions if isinstance(action, Command)]


def command(made: Plan) -> Command:
    [found] = [action for action in made.actions if isinstance(action, Command)]
    return found


def condition(seen: VMWorld, name: str = "Protected") -> tuple[str, str]:
    report = judge(seen, plan(seen), ())
    [found] = [each for each in report.findings if each.type == name]
    return found.status, found.reason


def state(seen: VMWorld) -> object:
    return judge(seen, plan(seen), ()).status["state"]


def _pair_with_storage() -> dict[str, object]:
    return {
        "source": {"siteRef": {"name": "newyork"}, "cloud": "gold"},
        "target": {"siteRef": {"name": "chicago"}, "cloud": "silver"},
        "storage": [{"sourceClassification": "fast", "targetClassification": "dr-fast"}],
    }


_IDE_DISK = {"controllerType": "IDE", "controllerNumber": 0, "controllerLocation": 1}


def _named(site: str, cloud: str, **more: str) -> w.Change:
    return w.spec(vm={"siteRef": {"name": site}, "cloud": cloud, **more})


OBSTACLES: dict[str, tuple[w.Change, str]] = {
    "no policy": (lambda s: replace(s, policy=None, target=None), "PolicyNotFound"),
    "policy goes": (w.policy_deleting, "PolicyNotReady"),
    "no source site": (lambda s: replace(s, source_site=None), "SiteNotFound"),
    "no target site": (lambda s: replace(s, target_site=None), "SiteNotFound"),
    "no vault": (lambda s: replace(s, vault=None), "ReferenceNotFound"),
    "no authority": (lambda s: replace(s, identity=replace(s.identity, vault="")), "Pending"),
    "rival": (lambda s: replace(s, rival="older"), "AlreadyProtected"),
    "no such name": (_named("newyork", "gold", name="nobody"), "VMNotFound"),
    "no such id": (_named("newyork", "gold", id=w.TWIN_ID), "VMNotFound"),
    "wrong cloud": (_named("newyork", "iron", id=VM_ID), "CloudNotCovered"),
    "moved": (lambda s: w.with_machine(cloud="iron")(_named("newyork", "gold", id=VM_ID)(s)), "VMNotFound"),
    "cloud not used": (lambda s: replace(s, source_site=w.site_object("newyork", clouds=["iron"])), "CloudNotCovered"),
    "two of that name": (w.source(vms_by_name={("gold", "web"): (VM_ID, w.TWIN_ID)}), "VMNameNotUnique"),
    "feature": (w.with_machine(unsupported=("Shielded",)), "VMNotSupported"),
    "disk": (w.with_machine(disks=(w.disk(0, unsupported="PassThrough"),)), "VMNotSupported"),
    "no disk": (w.with_machine(disks=()), "VMNotSupported"),
    "no such disk": (w.spec(excludedDisks=[_IDE_DISK]), "SpecRefused"),
    "no such storage": (w.spec(target={"storageClassification": "bronze"}), "StorageClassificationNotFound"),
    "no such adapter": (w.spec(networkAdapters=[{"adapter": {"name": "wan"}}]), "AdapterNotFound"),
    "method": (w.policy(initialReplication={"method": "ExistingReplica"}), "NotImplemented"),
    "existing VM": (w.spec(target={"existingVM": {"name": "x"}}), "NotImplemented"),
    "source suspended": (w.source(suspended=True), "SiteNotReady"),
    "target suspended": (w.target(suspended=True), "SiteNotReady"),
}


@pytest.mark.parametrize("name", OBSTACLES)
def test_what_stands_in_the_way_is_named_and_nothing_is_done(name: str) -> None:
    change, reason = OBSTACLES[name]
    seen = world(w.no_finalizer, change)
    assert plan(seen).actions == ()
    assert condition(seen) == ("False", reason)
    assert condition(seen, "Ready")[0] == "False"


def test_all_obstacles_are_listed_with_what_to_do() -> None:
    twins = [{"adapter": {"name": "lan"}, "targetNetwork": "dr"}]
    adapters = tuple(Adapter("lan", mac, "prod") for mac in (MAC, w.SECOND_MAC))
    seen = world(w.with_machine(unsupported=("Shielded",), adapters=adapters), w.spec(networkAdapters=twins))
    errors = judge(seen, plan(seen), ()).status["errors"]
    assert isinstance(errors, list)
    assert [each["code"] for each in errors] == ["VMNotSupported", "AdapterNameNotUnique"]
    assert all(each["recommendedAction"] for each in errors)
    assert MAC in errors[1]["message"]
    assert w.SECOND_MAC in errors[1]["message"]


def test_an_ambiguous_name_is_refused_with_the_ids() -> None:
    seen = world(w.source(vms_by_name={("gold", "web"): (VM_ID, w.TWIN_ID)}))
    report = judge(seen, plan(seen), ())
    message = next(each.message for each in report.findings if each.type == "Protected")
    assert VM_ID in message
    assert w.TWIN_ID in message


@pytest.mark.parametrize(
    ("owner", "existing", "reason"),
    [
        (Owner("other", "c"), "Refuse", "OwnedByAnotherVault"),
        (Owner("other", "c"), "Adopt", "OwnedByAnotherVault"),
        (None, "Refuse", "ReplicatesAlready"),
        (None, "Adopt", "NotImplemented"),
    ],
)
def test_a_relation_of_somebody_else_is_never_touched(owner: Owner | None, existing: str, reason: str) -> None:
    done = settle(world())
    for change in (w.source_half(owner=owner), w.target_half(owner=owner)):
        seen = change(w.spec(existingReplication=existing, replication="Suspended")(done))
        assert plan(seen).actions == ()
        assert condition(seen) == ("False", reason)


def test_without_a_pair_for_its_cloud() -> None:
    other = {**_pair_with_storage(), "source": {"siteRef": {"name": "newyork"}, "cloud": "iron"}, "storage": []}
    seen = replace(world(w.policy(cloudPairs=[other])), target=None, target_site=None)
    assert condition(seen) == ("False", "CloudNotCovered")


def test_a_storage_class_that_the_pair_does_not_map_is_refused() -> None:
    seen = world(w.policy(cloudPairs=[_pair_with_storage()]), w.with_machine(storage="slow"))
    assert condition(seen) == ("False", "StorageClassificationNotFound")


def test_by_id_a_silent_source_is_not_known_either() -> None:
    by_id = {"siteRef": {"name": "newyork"}, "cloud": "gold", "id": VM_ID}
    seen = world(w.spec(vm=by_id), w.source_silent())
    assert plan(seen).actions == ()
    assert condition(seen) == ("Unknown", "SiteUnreachable")
