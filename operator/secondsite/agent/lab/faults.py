"""What is broken at a lab site on purpose: switched on and off at run time, durable, read wherever it bites."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from enum import StrEnum

from secondsite.agent.lab.clock import LabClock
from secondsite.agent.lab.state import ActiveFault, Documents


class Fault(StrEnum):
    """Everything that can be broken. Those that happen once are not kept: the world shows what they left."""

    LINK_DOWN = "LinkDown"
    LINK_SLOW = "LinkSlow"
    """`value`: bytes per second."""
    LINK_LOSSY = "LinkLossy"
    """`value`: percent of connections that break in the middle."""
    REPLICA_DISK_FULL = "ReplicaDiskFull"
    REPLICA_PAUSED = "ReplicaPaused"
    AUTHORIZATION_REVOKED = "AuthorizationRevoked"
    CERTIFICATE_EXPIRED = "CertificateExpired"
    HOST_CRASH = "HostCrash"
    VMMS_RESTART = "VMMSRestart"
    CLOCK_SKEW = "ClockSkew"
    """`value`: seconds that the site's clock is ahead, negative behind."""
    BROKER_OFFLINE = "BrokerOffline"
    VM_MOVED = "VMMoved"
    DISK_TOUCHED_OFFLINE = "DiskTouchedOffline"
    VSS_FAILING = "VSSFailing"
    INITIAL_REPLICATION_STUCK = "InitialReplicationStuck"
    COMMAND_HANGS = "CommandHangs"
    DUPLICATE_NAMES = "DuplicateNames"
    INVENTORY_STALE = "InventoryStale"
    ORPHANED_TEST_VM = "OrphanedTestVM"


Heard = Callable[[Fault, str], None]
"""Is told the fault and the VM (empty: the site) after it was switched on or off, or ended by its time."""


class Faults:
    """Faults that are switched on, by fault and VM. Thread-safe; they survive a restart, and end by their time.

    `clock` is the true one: a fault may put the site's own clock wrong, which is `now`.
    """

    def __init__(self, documents: Documents, clock: LabClock) -> None:
        self._documents = documents
        self._clock = clock
        self._lock = threading.Lock()
        self._on = documents.all(ActiveFault)
        self._heard: list[Heard] = []

    def true_now(self) -> datetime:
        """The time by which faults end."""
        return self._clock.now()

    def now(self) -> datetime:
        """The time by the site's own clock."""
        skew = self.on(Fault.CLOCK_SKEW)
        return self._clock.now() + timedelta(seconds=skew.value or 0) if skew else self._clock.now()

    def slowed(self, rate: float | None) -> float | None:
        """What is left of a limit in bytes per second; None: there is no limit."""
        slow = self.on(Fault.LINK_SLOW)
        rates = [limit for limit in (rate, slow and slow.value) if limit]
        return min(rates, default=None)

    def on(self, fault: Fault, vm_id: str = "") -> ActiveFault | None:
        """The fault as it is on for this VM, else for the whole site; None where it is not."""
        if not self._on:
            return None
        with self._lock:
            for key in (_key(fault, vm_id), _key(fault, "")):
                found = self._on.get(key)
                if found and not self._over(found):
                    return found
        return None

    def all(self) -> list[ActiveFault]:
        """Every fault that is on now."""
        with self._lock:
            return [fault for fault in self._on.values() if not self._over(fault)]

    def listen(self, heard: Heard) -> None:
        """Tell of every change from now on, outside of the lock."""
        self._heard.append(heard)

    def set(self, fault: Fault, vm_id: str = "", value: float | None = None, until: datetime | None = None) -> None:
        """Switch it on, durably, in place of what was set before."""
        document = ActiveFault(_key(fault, vm_id), fault.value, vm_id, value, until)
        with self._lock:
            self._documents.put(document.id, document)
            self._on[document.id] = document
        self._tell(fault, vm_id)

    def clear(self, fault: Fault, vm_id: str = "") -> None:
        """Switch it off; what is not on is no error."""
        with self._lock:
            self._documents.remove(ActiveFault, _key(fault, vm_id))
            gone = self._on.pop(_key(fault, vm_id), None)
        if gone:
            self._tell(fault, vm_id)

    def seconds_to_next_end(self) -> float | None:
        """Until a fault ends by its time; None: none does."""
        with self._lock:
            ends = [fault.until for fault in self._on.values() if fault.until]
        return max(0.0, (min(ends) - self._clock.now()).total_seconds()) if ends else None

    def end_expired(self) -> None:
        """Forget what is over; whoever listens is told."""
        with self._lock:
            over = [fault for fault in self._on.values() if self._over(fault)]
        for fault in over:
            self.clear(Fault(fault.fault), fault.vm_id)

    def _over(self, fault: ActiveFault) -> bool:
        return fault.until is not None and self._clock.now() >= fault.until

    def _tell(self, fault: Fault, vm_id: str) -> None:
        for heard in self._heard:
            heard(fault, vm_id)


def _key(fault: Fault, vm_id: str) -> str:
    return f"{fault.value} {vm_id}".strip()
