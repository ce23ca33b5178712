"""Where a disk hangs, in the words of the wire, of the engine and of people."""

from __future__ import annotations

from typing import Literal, Protocol

from secondsite.wire.facts import DiskSlot


class Slotted(Protocol):
    """A slot, whoever speaks of it: data-centre file, command or fact."""

    @property
    def controller_type(self) -> Literal["IDE", "SCSI"]:
        """Of the controller."""

    @property
    def controller_number(self) -> int:
        """Among those of its type."""

    @property
    def controller_location(self) -> int:
        """At the controller."""


def slot_fact(slot: Slotted) -> DiskSlot:
    """As the wire says it."""
    return DiskSlot(slot.controller_type, slot.controller_number, slot.controller_location)


def slot_id(slot: Slotted) -> str:
    """The engine's name of the disk that hangs there."""
    return f"{slot.controller_type}-{slot.controller_number}-{slot.controller_location}"


def place(slot: Slotted) -> str:
    """As people write it."""
    return f"{slot.controller_type} {slot.controller_number}:{slot.controller_location}"
