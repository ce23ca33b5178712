"""Disks that the data-centre file has in another size than their replica (table row 37).

Hyper-V: a disk that was resized at one side only ends in an out-of-bounds error at the replica; once both have the same
size replication is resumed, without a resynchronization ("Online resize of virtual hard disks ... Hyper-V Replica").
The lab's guests write by the size that their disk began with, and a replica cannot grow: here the size is set back.
"""

from __future__ import annotations

from secondsite.agent.lab.datacentre import Machine
from secondsite.agent.lab.estate import Estate
from secondsite.agent.lab.slots import place, slot_fact, slot_id
from secondsite.agent.lab.state import Half

_REMEDY = (
    "Give both sides the same size, then resume: set the size back in the data-centre file and refresh the inventory "
    "(the lab cannot grow a replica), or disable replication and enable it again"
)


def notice(estate: Estate) -> None:
    """After a refresh: tell each primary whether its disks still have the size that is replicated."""
    for half in estate.halves.all():
        machine, guest = estate.centre.machine(half.vm_id), estate.guests.get(half.vm_id)
        primary = estate.primaries.get(half.vm_id)
        if half.side == "Primary" and machine and guest and primary:
            primary.out_of_bounds = differing(half, machine, {name: disk.size for name, disk in guest.disks.items()})


def differing(half: Half, machine: Machine, replicated: dict[str, int]) -> str:
    """What does not fit, in words; empty when all does. `replicated`: sizes in bytes by the engine's names."""
    found = []
    for disk in machine.disks:
        slot, size = slot_fact(disk.slot), int(disk.size)
        before = replicated.get(slot_id(slot), size)
        if slot in half.disks and size != before:
            found.append(f"{place(slot)} has {size} bytes, its replica {before}")
    if not found:
        return ""
    return f"Disks of {half.vm_name} were resized at one side, writes are out of bounds: {'; '.join(found)}. {_REMEDY}"
