"""From the VM that a spec names to the VM that a site has: by id, or by a name that is unique in its cloud."""

from collections.abc import Iterator
from dataclasses import dataclass

from secondsite.api.condition import CommonReason
from secondsite.api.protectedvm_reasons import ProtectedVMReason
from secondsite.plan.conditions import first
from secondsite.plan.observed import SiteView, VMWorld
from secondsite.plan.protectedvm.problems import Problem
from secondsite.wire.facts import Relation
from secondsite.wire.inventory import VM


@dataclass(frozen=True, slots=True)
class Resolved:
    """Which VM is meant. Without `vm_id` nobody knows; without `vm` the source's inventory has no such machine."""

    vm_id: str = ""
    vm: VM | None = None
    problem: Problem | None = None


def resolve(world: VMWorld) -> Resolved:
    """The VM that the spec names."""
    return first(_CHAIN, world) or Resolved(problem=_missing(world))


def _by_id(world: VMWorld) -> Resolved | None:
    wanted = world.vm.spec.vm.id
    if wanted is None:
        return None
    if not world.source.known:
        return Resolved(wanted, None, _unknown(world))
    vm = world.source.vms.get(wanted)
    return Resolved(wanted, vm, _misplaced(world, vm) if vm else _missing(world))


def _by_name(world: VMWorld) -> Resolved | None:
    if not world.source.known:
        return None
    ids = _namesakes(world)
    return Resolved(ids[0], world.source.vms.get(ids[0])) if len(ids) == 1 else None


def _namesakes(world: VMWorld) -> tuple[str, ...]:
    return world.source.vms_by_name.get((world.vm.spec.vm.cloud, world.vm.spec.vm.name or ""), ())


def _by_relation(world: VMWorld) -> Resolved | None:
    """The name says too much or nothing, but one relation of ours bears it: that VM is the one that was protected."""
    ids = {relation.vm_id for relation in _own_relations(world)}
    if len(ids) != 1:
        return None
    vm_id = ids.pop()
    if world.source.known and vm_id in _namesakes(world):
        return Resolved(vm_id, world.source.vms.get(vm_id))
    return Resolved(vm_id, None, _missing(world) if world.source.known else _unknown(world))


def _ambiguous(world: VMWorld) -> Resolved | None:
    ids = _namesakes(world) if world.source.known else ()
    return Resolved(problem=_twins(world, ids)) if len(ids) > 1 else None


def _unheard(world: VMWorld) -> Resolved | None:
    return None if world.source.known else Resolved(problem=_unknown(world))


_CHAIN = (_by_id, _by_name, _by_relation, _ambiguous, _unheard)


def _own_relations(world: VMWorld) -> Iterator[Relation]:
    source, target = world.source, world.target
    for view, peer in ((source, ""), (target, source.name)):
        if view is not None and view.known:
            yield from (each for each in view.relations.values() if _is_meant(world, each, view, peer))


def _is_meant(world: VMWorld, relation: Relation, view: SiteView, peer: str) -> bool:
    if relation.vm_name != world.vm.spec.vm.name or (peer and relation.peer_site != peer):
        return False
    owned = relation.owner is not None and relation.owner.vault == world.identity.vault != ""
    vm = view.vms.get(relation.vm_id)
    # A namesake in another cloud of the source is another VM.
    elsewhere = vm is not None and vm.role == "Production" and vm.cloud != world.vm.spec.vm.cloud
    return owned and not elsewhere


def _unknown(world: VMWorld) -> Problem:
    contact = world.source.contact
    what = contact.message or f"site {world.source.name} has not told everything yet"
    return Problem(
        CommonReason.SITE_UNREACHABLE,
        f"The VM cannot be looked up: {what}",
        site=world.source.name,
        waits=True,
        unknown=True,
    )


def _missing(world: VMWorld) -> Problem:
    spec = world.vm.spec.vm
    return Problem(
        ProtectedVMReason.VM_NOT_FOUND,
        f"Cloud '{spec.cloud}' of site {spec.site_ref.name} has no VM '{spec.name or spec.id}'",
        "Correct spec.vm (delete this object and create another one), or bring the VM back.",
        site=spec.site_ref.name,
    )


def _misplaced(world: VMWorld, vm: VM) -> Problem | None:
    spec = world.vm.spec.vm
    if vm.cloud == spec.cloud:
        return None
    return Problem(
        ProtectedVMReason.VM_NOT_FOUND,
        f"VM {vm.name} ({vm.id}) is in cloud '{vm.cloud}' of site {spec.site_ref.name}, not in '{spec.cloud}'",
        f"Move the VM to cloud '{spec.cloud}' in VMM, or name its present cloud.",
        site=spec.site_ref.name,
    )


def _twins(world: VMWorld, ids: tuple[str, ...]) -> Problem:
    spec = world.vm.spec.vm
    return Problem(
        ProtectedVMReason.VM_NAME_NOT_UNIQUE,
        f"Cloud '{spec.cloud}' of site {spec.site_ref.name} has {len(ids)} VMs named '{spec.name}': {', '.join(ids)}",
        "Name the VM by spec.vm.id, one of these.",
        site=spec.site_ref.name,
    )
