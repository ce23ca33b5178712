"""Which VMs a site has, and which of them are on: the data-centre file, and what has happened since. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping

from secondsite.agent.lab.datacentre import Adapter, DataCentre, Machine
from secondsite.agent.lab.slots import slot_fact
from secondsite.agent.lab.state import Half, Placement, Replica
from secondsite.wire.facts import AdapterSetting


def populated(centre: DataCentre, placements: Mapping[str, Placement]) -> DataCentre:
    """The data centre with the VMs that came, without those that left, and each VM on or off as people left it."""
    came = {vm_id: Machine.model_validate_json(found.machine) for vm_id, found in placements.items() if _came(found)}
    stayed = [vm for vm in centre.vms if not (vm.id in placements and placements[vm.id].away)]
    vms = [came.pop(vm.id, vm) for vm in stayed]
    powered = tuple(_powered(vm, placements.get(vm.id)) for vm in (*vms, *came.values()))
    return centre.model_copy(update={"vms": powered})


def landed(replica: Replica, half: Half | None) -> Machine:
    """A replica VM as it runs at this site: adapters as planned, else disconnected. Where it ran before, as it was."""
    machine = Machine.model_validate_json(replica.machine)
    plans = {plan.adapter: plan for plan in (half.adapters if half else ())}
    here = {"cloud": replica.cloud, "host": replica.host, "storage": replica.storage}
    replicated = {slot for slot, _ in replica.disks}
    disks = []
    for disk in machine.disks:
        known = slot_fact(disk.slot) in replicated
        # A disk that was excluded is not here: an empty one hangs in its place.
        disks.append(disk if known or replica.home else disk.model_copy(update={"data": 0}))
    adapters = tuple(_connected(item, plans.get(item.mac), home=replica.home) for item in machine.adapters)
    return machine.model_copy(update=here | {"disks": tuple(disks), "adapters": adapters})


def _came(placement: Placement) -> bool:
    return bool(placement.machine) and not placement.away


def _powered(machine: Machine, placement: Placement | None) -> Machine:
    if placement is None or placement.state is None or placement.state == machine.state:
        return machine
    return machine.model_copy(update={"state": placement.state})


def _connected(adapter: Adapter, plan: AdapterSetting | None, *, home: bool) -> Adapter:
    if plan is None:
        changes = {} if home else {"network": "", "subnet": "", "addresses": ()}
    else:
        addresses = plan.addresses if plan.network else ()
        changes = {"network": plan.network, "subnet": "", "addresses": addresses}
    return adapter.model_copy(update=changes)
