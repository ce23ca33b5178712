"""What Hyper-V Replica cannot protect, said before a site is asked: the VM, its disks, and what the target can run."""

from collections.abc import Iterator

from secondsite.api.protectedvm_reasons import ProtectedVMReason as R
from secondsite.plan.protectedvm import desired
from secondsite.plan.protectedvm.picture import Picture
from secondsite.plan.protectedvm.problems import Problem
from secondsite.wire.facts import DiskSlot
from secondsite.wire.inventory import VM
from secondsite.wire.limits import Limit, explain

_ROLES = {"Replica": Limit.REPLICA_VM.value, "Test": Limit.TEST_VM.value}


def machine(picture: Picture) -> Iterator[Problem]:
    """What stops the whole VM."""
    vm = picture.machine
    if vm is None:
        return
    codes = [*([_ROLES[vm.role]] if vm.role in _ROLES else []), *vm.unsupported, *_at_target(picture, vm)]
    for code in codes:
        yield _problem(picture, f"VM {vm.name}", code)


def disks(picture: Picture) -> Iterator[Problem]:
    """What stops single disks; the others can be protected without them, but not without the system's."""
    vm = picture.machine
    if vm is None:
        return
    excluded = desired.excluded(picture.spec)
    for disk in vm.disks:
        out = desired.slot(disk.slot) in excluded
        code = Limit.SYSTEM_DISK_EXCLUDED.value if out and disk.operating_system else "" if out else disk.unsupported
        if code:
            yield _problem(picture, f"Disk {place(disk.slot)} of VM {vm.name}", code)


def _at_target(picture: Picture, vm: VM) -> Iterator[str]:
    target, pair = picture.world.target, picture.pair
    if target is None or pair is None or not target.known or target.site is None:
        return
    clouds = (each for each in target.site.clouds if each.name == pair.target.cloud)
    versions = next((each.configuration_versions for each in clouds), ())
    if vm.configuration_version and versions and vm.configuration_version not in versions:
        yield Limit.CONFIGURATION_VERSION.value
    kept = target.vms.get(vm.id)
    if kept is not None and kept.role == "Replica" and kept.generation != vm.generation:
        yield Limit.GENERATION_MISMATCH.value


def _problem(picture: Picture, what: str, code: str) -> Problem:
    message, remedy = explain(code)
    text = f"{what} cannot be replicated: {message}"
    return Problem(R.VM_NOT_SUPPORTED, text, remedy, picture.site_names[0], (code,))


def place(disk: DiskSlot) -> str:
    """A disk's place as people write it."""
    controller, number, location = desired.slot(disk)
    return f"{controller} {number}:{location}"
