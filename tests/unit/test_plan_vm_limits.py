"""What cannot be protected, as the operator says it before it asks a site for anything."""

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from secondsite.plan.observed import VMWorld
from secondsite.plan.protectedvm.decide import plan
from secondsite.plan.protectedvm.judge import judge
from secondsite.wire.inventory import Cloud
from secondsite.wire.limits import LIMITS, Limit
from support import worlds as w
from support.simulated_sites import settle
from support.worlds import VM_ID, world

SYSTEM = {"controllerType": "SCSI", "controllerNumber": 0, "controllerLocation": 0}
SECOND = {**SYSTEM, "controllerLocation": 1}


def errors(seen: VMWorld) -> list[dict[str, Any]]:
    found = judge(seen, plan(seen), ()).status.get("errors", [])
    assert isinstance(found, list)
    return found


def old_hosts(seen: VMWorld) -> VMWorld:
    assert seen.target is not None
    assert seen.target.site is not None
    clouds = (Cloud("silver", 1, 0, configuration_versions=("8.0", "9.0")),)
    return w.target(site=msgspec.structs.replace(seen.target.site, clouds=clouds))(seen)


def kept_replica(seen: VMWorld) -> VMWorld:
    return w.target(vms={VM_ID: w.machine(role="Replica", generation=1)})(seen)


def with_bad_disk(limit: Limit) -> w.Change:
    return w.with_machine(disks=(w.disk(0, operating_system=True), w.disk(1, unsupported=limit.value)))


OBSTACLES: dict[Limit, tuple[w.Change, ...]] = {
    limit: (w.with_machine(unsupported=(limit.value,)),) for limit, e in LIMITS.items() if e.refuses == "VM"
}
OBSTACLES |= {limit: (with_bad_disk(limit),) for limit, e in LIMITS.items() if e.refuses == "Disk"}
OBSTACLES |= {
    Limit.REPLICA_VM: (w.with_machine(role="Replica"),),
    Limit.TEST_VM: (w.with_machine(role="Test"),),
    Limit.CONFIGURATION_VERSION: (w.with_machine(configuration_version="10.0"), old_hosts),
    Limit.GENERATION_MISMATCH: (kept_replica,),
    Limit.SYSTEM_DISK_EXCLUDED: (w.spec(excludedDisks=[SYSTEM]),),
}


@pytest.mark.parametrize("limit", OBSTACLES, ids=lambda limit: limit.value)
def test_each_is_named_with_its_remedy_and_nothing_is_done(limit: Limit) -> None:
    seen = world(w.no_finalizer, *OBSTACLES[limit])
    assert plan(seen).actions == ()
    [error] = errors(seen)
    assert (error["code"], error["causes"]) == ("VMNotSupported", [limit.value])
    assert LIMITS[limit].message in error["message"]
    assert error["recommendedAction"] == LIMITS[limit].remedy


def test_a_name_that_is_not_unique_has_a_reason_of_its_own() -> None:
    seen = world(w.source(vms_by_name={("gold", "web"): (VM_ID, w.TWIN_ID)}))
    [error] = errors(seen)
    assert error["code"] == "VMNameNotUnique"
    assert "spec.vm.id" in error["recommendedAction"]
    assert "spec.vm.id" in LIMITS[Limit.NAME_NOT_UNIQUE].remedy


def test_a_disk_that_is_left_out_stops_nothing() -> None:
    seen = world(with_bad_disk(Limit.PASS_THROUGH), w.spec(excludedDisks=[SECOND]))
    assert plan(seen).actions
    assert errors(seen) == []


def test_what_a_newer_site_says_is_shown() -> None:
    [error] = errors(world(w.with_machine(unsupported=("Sideways",))))
    assert "Sideways" in error["message"]
    assert error["recommendedAction"]


def test_versions_that_nobody_knows_stop_nothing() -> None:
    assert errors(world(w.with_machine(configuration_version="10.0"))) == []


def test_a_disk_that_came_later_and_cannot_be_replicated_says_why() -> None:
    late = w.disk(5, unsupported="PassThrough")
    done = settle(world())
    seen = w.with_machine(disks=(w.disk(0, operating_system=True), w.disk(1), late))(done)
    [covered] = [each for each in judge(seen, plan(seen), ()).findings if each.type == "CoverageComplete"]
    assert (covered.status, covered.reason) == ("False", "DiskNotReplicated")
    assert LIMITS[Limit.PASS_THROUGH].message in covered.message
    assert "SCSI 0:5" in covered.message


def settings(seen: VMWorld) -> tuple[str, str]:
    [applied] = [each for each in judge(seen, plan(seen), ()).findings if each.type == "SettingsApplied"]
    return applied.status, applied.reason


@pytest.mark.parametrize("changed", [{"gateway": "10.2.0.254"}, {"dns_servers": ("10.2.0.3",)}])
def test_a_change_of_gateway_or_name_servers_alone_is_rolled_out(changed: dict[str, Any]) -> None:
    done = settle(world())
    assert settings(done) == ("True", "Applied")
    assert done.target is not None
    pools = {"dr/dr-a": msgspec.structs.replace(done.target.pools["dr/dr-a"], **changed)}
    seen = replace(done, target=replace(done.target, pools=pools))
    assert settings(seen) == ("False", "Applying")
    [command] = plan(seen).actions
    assert getattr(command, "verb", "") == "ConfigureReplica"
    after = settle(seen)
    assert after.target is not None
    [adapter] = after.target.relations[VM_ID].adapters
    assert {name: getattr(adapter, name) for name in changed} == changed
    assert settings(after) == ("True", "Applied")
