"""Switching faults: what a fault does beside being looked up where it bites, when it begins and when it ends."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import timedelta

from secondsite import logs
from secondsite.agent.lab.estate import Estate
from secondsite.agent.lab.events import Event
from secondsite.agent.lab.fault_catalogue import KINDS, check, check_duration
from secondsite.agent.lab.faults import Fault
from secondsite.agent.lab.primary import Primary
from secondsite.agent.lab.report import Reporter
from secondsite.agent.lab.state import Half, Replica
from secondsite.errors import SecondsiteError
from secondsite.wire.problems import Refusal

_log = logs.get(__name__)

KEY = "faults"
"""Of the work that begins and ends them."""

# Hyper-V needs up to a minute for it; the knob is 0 where nobody wants to wait for an agent's own restart.
_BLACKOUT_SECONDS = 60.0
_OF_INVENTORY = frozenset(
    {Fault.VM_MOVED, Fault.DUPLICATE_NAMES, Fault.ORPHANED_TEST_VM, Fault.INVENTORY_STALE, Fault.VMMS_RESTART}
)
_OF_REPLICA = frozenset({Fault.REPLICA_DISK_FULL, Fault.REPLICA_PAUSED, Fault.AUTHORIZATION_REVOKED})
_OF_PRIMARY = frozenset({Fault.HOST_CRASH, Fault.DISK_TOUCHED_OFFLINE})


class FaultSwitch:
    """Switches the faults of one site. Calls block; one that raises SecondsiteError or Refusal has no effect."""

    def __init__(self, estate: Estate, reporter: Reporter) -> None:
        self._estate = estate
        self._reporter = reporter
        self._faults = estate.faults
        self._held: ExitStack | None = None
        self._resting: set[Primary] = set()
        self._lock = threading.Lock()
        self._faults.listen(self._changed)

    def start(self) -> None:
        """Bring about what was on when the agent ended; its own start is a restart of the management service."""
        blackout = self._estate.clock.scaled(self._estate.clock.knobs.blackout_seconds)
        if blackout:
            self._faults.set(Fault.VMMS_RESTART, until=self._faults.true_now() + timedelta(seconds=blackout))
        self._changed(Fault.VMMS_RESTART, "")

    def stop(self) -> None:
        """Let go of everything; what is on stays on for the next start."""
        with self._lock:
            self._release()

    def switch_on(
        self, fault: Fault, vm: str = "", value: float | None = None, seconds: float | None = None
    ) -> Mapping[str, str]:
        """Begin it, for `seconds` or until it is switched off. `vm`: id or name; the answer names what was meant."""
        vm_id = self.find(vm) if vm else ""
        value = check(fault, vm_id, value)
        seconds = None if seconds is None else check_duration(seconds)
        self._require(fault, vm_id)
        if fault is Fault.VMMS_RESTART:
            seconds = self._blackout(value if value is not None else seconds)
        happens: dict[Fault, Callable[[Primary], None]] = {
            Fault.HOST_CRASH: Primary.distrust,
            Fault.DISK_TOUCHED_OFFLINE: Primary.touched_offline,
        }
        if fault is Fault.REPLICA_PAUSED:
            self._pause(vm_id)
        if fault in happens:
            self._befall(vm_id, happens[fault])
        if not KINDS[fault].once:
            until = None if seconds is None else self._faults.true_now() + timedelta(seconds=seconds)
            self._faults.set(fault, vm_id, value, until)
        _log.warning("a fault is switched on", fault=fault.value, vm=vm_id, value=value, seconds=seconds)
        return {"fault": fault.value, "vmID": vm_id}

    def switch_off(self, fault: Fault, vm: str = "") -> Mapping[str, str]:
        """End it; what is not on is no error. The VM of a fault may be gone meanwhile."""
        broken = {active.vm_id for active in self._faults.all()}
        vm_id = vm if vm in broken or not vm else self.find(vm)
        self._faults.clear(fault, vm_id)
        _log.warning("a fault is switched off", fault=fault.value, vm=vm_id)
        return {"fault": fault.value, "vmID": vm_id}

    def names(self) -> dict[str, str]:
        """Every VM and replica of this site: name by id."""
        estate = self._estate
        found = {item.vm_id: item.vm_name for item in estate.documents.all(Replica).values()}
        found |= {vm.id: vm.name for vm in estate.centre.vms}
        return found | {half.vm_id: half.vm_name for half in estate.halves.all()}

    def find(self, vm: str) -> str:
        """The id of the VM of that id or name."""
        names = self.names()
        if vm in names:
            return vm
        found = [vm_id for vm_id, name in names.items() if name.lower() == vm.lower()]
        if not found:
            raise SecondsiteError(f"There is no VM {vm} at this site", f"Its VMs: {', '.join(sorted(names.values()))}.")
        if len(found) > 1:
            raise SecondsiteError(f"There are {len(found)} VMs {vm} at this site", f"Use an id: {', '.join(found)}.")
        return found[0]

    def _require(self, fault: Fault, vm_id: str) -> None:
        """What the fault needs here, that it may not be set in vain."""
        half = self._estate.halves.get(vm_id)
        if vm_id and fault in _OF_REPLICA and (half is None or half.side != "Replica"):
            raise SecondsiteError(f"{fault}: VM {vm_id} has no replica at this site", "Set it at the replica's site.")
        if fault in _OF_PRIMARY and not self._primaries(vm_id):
            raise SecondsiteError(f"{fault}: nothing is replicated from this site", "Set it at the source's site.")
        if fault is Fault.REPLICA_PAUSED and not vm_id and not self._replicas(vm_id, "Replicating"):
            raise SecondsiteError(f"{fault}: no replica at this site is replicating", "Set it at the replica's site.")

    def _befall(self, vm_id: str, happens: Callable[[Primary], None]) -> None:
        """Also while the service restarts: whoever waited for its end here might be whoever ends it."""
        with self._lock:
            for primary in self._primaries(vm_id):
                with contextlib.nullcontext() if primary in self._resting else primary.quiet():
                    happens(primary)

    def _primaries(self, vm_id: str) -> list[Primary]:
        return [primary for id_, primary in list(self._estate.primaries.items()) if vm_id in ("", id_)]

    def _replicas(self, vm_id: str, state: str) -> list[Half]:
        mine = [half for half in self._estate.halves.all() if half.side == "Replica" and half.state == state]
        return [half for half in mine if vm_id in ("", half.vm_id)]

    def _blackout(self, seconds: float | None) -> float:
        clock = self._estate.clock
        return seconds if seconds is not None else clock.scaled(clock.knobs.blackout_seconds or _BLACKOUT_SECONDS)

    def _pause(self, vm_id: str) -> None:
        if vm_id:
            self._estate.halves.step(vm_id, Event.SUSPEND)
            return
        for half in self._replicas("", "Replicating"):
            self._estate.halves.step(half.vm_id, Event.SUSPEND)

    def _changed(self, fault: Fault, vm_id: str) -> None:
        """Whatever follows from a fault that is on now, or is not any more."""
        on = self._faults.on(fault, vm_id) is not None
        if fault is Fault.REPLICA_PAUSED and not on:
            for half in self._replicas(vm_id, "Suspended"):
                self._estate.halves.step(half.vm_id, Event.RESUME)
        if fault is Fault.VMMS_RESTART:
            self._hold(on=on)
        if fault is Fault.LINK_SLOW:
            self._estate.lines.limit(self._estate.settings.bandwidth)
        if fault in _OF_INVENTORY:
            self._reporter.inventory()
        self._estate.rounds.wake(KEY)
        for half in self._estate.halves.all():
            if vm_id in ("", half.vm_id):
                self._reporter.changed(half.vm_id)

    def _hold(self, *, on: bool) -> None:
        """While the management service restarts nothing is sent; afterwards everybody tries at once."""
        with self._lock:
            if on and self._held is None:
                self._held = ExitStack()
                for primary in self._primaries(""):
                    self._held.enter_context(primary.quiet())
                    self._resting.add(primary)
            if on:
                return
            back = not on and self._held is not None
            self._release()
        for half in self._estate.halves.all() if back else ():
            with contextlib.suppress(Refusal):
                self._estate.halves.step(half.vm_id, Event.SERVICE_RESTARTED, retry_time=None)

    def _release(self) -> None:
        held, self._held = self._held, None
        self._resting = set()
        if held is not None:
            held.close()
