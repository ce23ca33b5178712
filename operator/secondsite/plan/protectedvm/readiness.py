"""What must be true before replication of a VM is enabled. Every check is asked: people want the whole list."""

from collections.abc import Callable, Iterator

from secondsite.api.condition import CommonReason
from secondsite.api.protectedvm_reasons import ProtectedVMReason as R
from secondsite.plan.conditions import named
from secondsite.plan.protectedvm import desired, limits
from secondsite.plan.protectedvm.picture import Picture
from secondsite.plan.protectedvm.problems import Problem

Check = Callable[[Picture], Iterator[Problem]]


def problems(picture: Picture) -> tuple[Problem, ...]:
    """Everything that stands in the way, in the order in which it should be dealt with."""
    return tuple(problem for check in CHECKS for problem in check(picture))


def _references(picture: Picture) -> Iterator[Problem]:
    world, spec = picture.world, picture.spec
    if world.source_site is None:
        yield Problem(R.SITE_NOT_FOUND, f"There is no VMMSite '{spec.vm.site_ref.name}'", "Create it.")
    elif world.vault is None:
        name = world.source_site.spec.vault_ref.name
        yield Problem(CommonReason.REFERENCE_NOT_FOUND, f"There is no RecoveryVault '{name}'", "Create it.")
    if world.policy is None:
        yield Problem(R.POLICY_NOT_FOUND, f"There is no ReplicationPolicy '{spec.policy_ref.name}'", "Create it.")
    elif world.policy.deleting:
        name = spec.policy_ref.name
        yield Problem(R.POLICY_NOT_READY, f"ReplicationPolicy '{name}' is being deleted", "Name another policy.")


def _cloud(picture: Picture) -> Iterator[Problem]:
    world, spec = picture.world, picture.spec.vm
    site = world.source_site
    if site is not None and site.spec.clouds and spec.cloud not in site.spec.clouds:
        message = f"VMMSite '{site.name}' does not use cloud '{spec.cloud}'"
        yield Problem(R.CLOUD_NOT_COVERED, message, "Add the cloud to its spec.clouds.", site.name)
    if world.policy is not None and picture.pair is None:
        where = f"cloud '{spec.cloud}' of site {spec.site_ref.name}"
        message = f"ReplicationPolicy '{world.policy.name}' has no pair for {where}"
        yield Problem(R.CLOUD_NOT_COVERED, message, "Add it to its spec.cloudPairs, or name another policy.")
    if picture.pair is not None and world.target_site is None:
        yield Problem(
            R.SITE_NOT_FOUND, f"There is no VMMSite '{picture.pair.target.site_ref.name}', the target", "Create it."
        )


def _machine(picture: Picture) -> Iterator[Problem]:
    if picture.resolved.problem is not None:
        yield picture.resolved.problem
    if picture.world.rival:
        message = f"ProtectedVM '{picture.world.rival}' is older and protects the same VM"
        yield Problem(R.ALREADY_PROTECTED, message, "Delete one of the two.")
    yield from limits.machine(picture)


def _disks(picture: Picture) -> Iterator[Problem]:
    machine = picture.machine
    if machine is None:
        return
    excluded, site = desired.excluded(picture.spec), picture.site_names[0]
    there = {desired.slot(disk.slot) for disk in machine.disks}
    if missing := sorted(excluded - there):
        message = (
            f"spec.excludedDisks names {named(_place(*each) for each in missing)}, where VM {machine.name} has none"
        )
        yield Problem(CommonReason.SPEC_REFUSED, message, "Correct the place of the disk.", site)
    yield from limits.disks(picture)
    if not there - excluded:
        message = f"VM {machine.name} has no disk that would be replicated"
        yield Problem(R.VM_NOT_SUPPORTED, message, "Leave at least one disk out of spec.excludedDisks.", site)


def _storage(picture: Picture) -> Iterator[Problem]:
    machine, pair, target = picture.machine, picture.pair, picture.world.target
    if machine is None or pair is None or target is None:
        return
    wanted = desired.storage(picture.spec, pair, machine)
    if not wanted and pair.storage and machine.storage:
        message = f"The policy maps no target to storage classification '{machine.storage}' of VM {machine.name}"
        action = "Add it to the pair's storage, or set spec.target.storageClassification."
        yield Problem(R.STORAGE_CLASSIFICATION_NOT_FOUND, message, action)
    known = {each.classification for each in target.site.storage} if target.known and target.site else set()
    if wanted and known and wanted not in known:
        message = f"Site {target.name} has no storage classification '{wanted}'; it has: {named(sorted(known))}"
        yield Problem(R.STORAGE_CLASSIFICATION_NOT_FOUND, message, "Name one of these.", target.name)


def _adapters(picture: Picture) -> Iterator[Problem]:
    for each in picture.override_problems:
        yield Problem(each.reason, each.message, each.action, picture.site_names[0])


def _not_built(picture: Picture) -> Iterator[Problem]:
    method = picture.policy.initial_replication.method if picture.policy else "Online"
    if method != "Online":
        message = f"This version cannot do initial replication by method '{method}'"
        yield Problem(CommonReason.NOT_IMPLEMENTED, message, "Set the policy's initialReplication.method to Online.")
    if picture.spec.target.existing_vm is not None and method == "Online":
        message = "spec.target.existingVM is used with method ExistingReplica only"
        yield Problem(CommonReason.NOT_IMPLEMENTED, message, "Remove spec.target.existingVM.")


CHECKS: tuple[Check, ...] = (
    _references,
    _cloud,
    _machine,
    _disks,
    _storage,
    _adapters,
    _not_built,
)


def _place(controller: str, number: int, location: int) -> str:
    return f"{controller} {number}:{location}"
