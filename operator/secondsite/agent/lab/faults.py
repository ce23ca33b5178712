"""What is broken at a lab site on purpose: switched on and off at run time, durable, read wherever it bites."""

from __future__ import annotations

import threading
from datetime import datetime
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


class Faults:
    """Faults that are switched on, by fault and VM. Thread-safe; they survive a restart, and end by their time."""

    def __init__(self, documents: Documents, clock: LabClock) -> None:
        self._documents = documents
        self._clock = clock
        self._lock = threading.Lock()
        self._on = documents.all(ActiveFault)

    def on(self, fault: Fault, vm_id: str = "") -> ActiveFault | None:
        """The fault as it is on for this VM, or for the whole site; None where it is not."""
        with self._lock:
            for key in {_key(fault, vm_id), _key(fault, "")}:
                found = self._on.get(key)
                if found and (found.until is None or self._clock.now() < found.until):
                    return found
        return None

    def all(self) -> list[ActiveFault]:
        """Every fault that is on now."""
        now = self._clock.now()
        with self._lock:
            return [fault for fault in self._on.values() if fault.until is None or now < fault.until]

    def set(self, fault: Fault, vm_id: str = "", value: float | None = None, until: datetime | None = None) -> None:
        """Switch it on, durably, in place of what was set before."""
        document = ActiveFault(_key(fault, vm_id), fault.value, vm_id, value, until)
        with self._lock:
            self._documents.put(document.id, document)
            self._on[document.id] = document

    def clear(self, fault: Fault, vm_id: str = "") -> None:
        """Switch it off; what is not on is no error."""
        with self._lock:
            self._documents.remove(ActiveFault, _key(fault, vm_id))
            self._on.pop(_key(fault, vm_id), None)


def _key(fault: Fault, vm_id: str) -> str:
    return f"{fault.value} {vm_id}".strip()
