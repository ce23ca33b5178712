"""The relation halves of a site: every change goes through the transition table and is durable before it is seen."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Mapping
from types import MappingProxyType

import msgspec

from secondsite.agent.lab.events import Event
from secondsite.agent.lab.host_log import HostLog
from secondsite.agent.lab.refusals import require
from secondsite.agent.lab.state import Documents, Half
from secondsite.agent.lab.table import Look, Row
from secondsite.wire.facts import State

_LOCKS = 256
_NOTHING: Mapping[str, bool] = MappingProxyType({})
_NO_CHANGES: Mapping[str, object] = MappingProxyType({})


class Halves:
    """All halves, by VM. Thread-safe; its lock is never held while anything else is called but the store.

    `changed` is called after each change, outside of the lock.
    """

    def __init__(self, documents: Documents, changed: Callable[[str], None], host_log: HostLog | None = None) -> None:
        self.host_log = host_log or HostLog()
        self._documents = documents
        self._changed = changed
        # Of single VMs: one that waits for the disk holds up few others, and no reader.
        self._locks = [threading.RLock() for _ in range(_LOCKS)]
        self._halves = documents.all(Half)

    def all(self) -> list[Half]:
        """Every half."""
        return list(self._halves.values())

    def get(self, vm_id: str) -> Half | None:
        """The half of a VM, or None."""
        return self._halves.get(vm_id)

    def state(self, vm_id: str) -> State:
        """`Disabled` where there is no half."""
        half = self.get(vm_id)
        return half.state if half else "Disabled"

    def require(self, vm_id: str, name: str, event: Event, **known: bool) -> Row:
        """The table's row for an event now. Raises Refusal where none lists it; `name` is for its text.

        `known` are what guards ask for beside the half itself: fields of `table.Look`.
        """
        half = self.get(vm_id)
        look = dataclasses.replace(half.look if half else Look(), **known)
        if half is None:
            return require(name, "None", "Disabled", event, look)
        return require(half.vm_name, half.side, half.state, event, look)

    def create(self, event: Event, half: Half) -> Half:
        """A new half. Raises Refusal where the VM has one."""
        with self._lock(half.vm_id):
            row = self.require(half.vm_id, half.vm_name, event)
            state = row.after or half.state
            return self._put(msgspec.structs.replace(half, state=state, enabled_time=half.window.start))

    def step(self, vm_id: str, event: Event, known: Mapping[str, bool] = _NOTHING, /, **changes: object) -> Half | None:
        """Take an event to the half of a VM; None where it is gone now. Raises Refusal. `known` as for `require`."""
        with self._lock(vm_id):
            half = self._halves[vm_id]
            row = self.require(vm_id, half.vm_name, event, **known)
            if row.after == "Disabled":
                del self._halves[vm_id]
                self._documents.remove(Half, vm_id)
                moved = None
            else:
                state, side = row.after or half.state, row.becomes or half.side
                if row.becomes:
                    # Lag is measured anew from the first point of the new term.
                    changes["rpo_source_time"] = None
                moved = self._put(msgspec.structs.replace(half, state=state, side=side, **changes))
        self.host_log.moved(row, half, moved)
        self._changed(vm_id)
        return moved

    def update(self, vm_id: str, **changes: object) -> None:
        """Note something that is no transition; nothing where the half is gone meanwhile."""
        self.amend(vm_id, lambda _: changes)

    def amend(self, vm_id: str, change: Callable[[Half], Mapping[str, object]]) -> None:
        """Note what follows from the half as it is: nothing comes in between. `change` is quick; empty is no news."""
        with self._lock(vm_id):
            half = self._halves.get(vm_id)
            changes = change(half) if half else _NO_CHANGES
            if half is None or not changes:
                return
            after = self._put(msgspec.structs.replace(half, **changes))
        self.host_log.counted(half, after)
        self._changed(vm_id)

    def _lock(self, vm_id: str) -> threading.RLock:
        return self._locks[hash(vm_id) % _LOCKS]

    def _put(self, half: Half) -> Half:
        self._documents.put(half.vm_id, half)
        self._halves[half.vm_id] = half
        return half
