"""What each fault is: where it bites, what its value means, in words for the command line and its documentation."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from secondsite.agent.lab.faults import Fault
from secondsite.errors import SecondsiteError


class Scope(StrEnum):
    """Whom a fault may be set for."""

    SITE = "the whole site"
    VM = "one VM"
    EITHER = "one VM, or all of the site"


@dataclass(frozen=True)
class Kind:
    """One fault. `least`, `most` and `usual` are of its value; `unit` is empty where it has none."""

    does: str
    scope: Scope
    unit: str = ""
    least: float = 0
    most: float = 0
    usual: float | None = None
    once: bool = False
    """It happens, and is over: there is nothing to switch off."""


_DAY = 86400.0
LONGEST = 366 * _DAY
"""Seconds for which a fault may last, or ahead of which it may be planned: no clock reaches further for sure."""

KINDS: dict[Fault, Kind] = {
    Fault.LINK_DOWN: Kind("No replication data leaves or reaches this site", Scope.SITE),
    Fault.LINK_SLOW: Kind(
        "What this site sends is as slow as that, whatever its own limit is", Scope.SITE, "bytes/s", 1024, 1e12, 65536
    ),
    Fault.LINK_LOSSY: Kind(
        "So many of the connections for replication data break in the middle", Scope.SITE, "percent", 1, 100, 30
    ),
    Fault.REPLICA_DISK_FULL: Kind("The replica's storage here has no room for another cycle", Scope.EITHER),
    Fault.REPLICA_PAUSED: Kind("Somebody suspends the replica here, without telling the other side", Scope.EITHER),
    Fault.AUTHORIZATION_REVOKED: Kind(
        "The authorization entry of the other site is gone: its data is refused here", Scope.EITHER
    ),
    Fault.CERTIFICATE_EXPIRED: Kind(
        "This site finds that the other's certificate for replication has expired", Scope.SITE
    ),
    Fault.HOST_CRASH: Kind("The VM's host crashes: its log of changes was not closed", Scope.EITHER, once=True),
    Fault.VMMS_RESTART: Kind(
        "The management service restarts: relations cannot be read meanwhile, and nothing is sent or taken",
        Scope.SITE,
        "seconds",
        0,
        3600,
    ),
    Fault.CLOCK_SKEW: Kind(
        "The site's clock is ahead by that; negative: behind", Scope.SITE, "seconds", -_DAY, _DAY, 60
    ),
    Fault.BROKER_OFFLINE: Kind("The Replica Broker here is offline: the other side finds no replica host", Scope.SITE),
    Fault.VM_MOVED: Kind("The VM is on another host of its cloud", Scope.VM),
    Fault.DISK_TOUCHED_OFFLINE: Kind(
        "Somebody wrote to a disk of the VM behind its back, while it was off", Scope.EITHER, once=True
    ),
    Fault.VSS_FAILING: Kind("The guest cannot be quiesced: VSS fails in it", Scope.EITHER),
    Fault.INITIAL_REPLICATION_STUCK: Kind("Initial replication stands still at one percent", Scope.EITHER),
    Fault.COMMAND_HANGS: Kind(
        "The next command for the VM hangs; value 1: it hangs when its work is done already",
        Scope.EITHER,
        "0 or 1",
        0,
        1,
        0,
    ),
    Fault.DUPLICATE_NAMES: Kind("Another VM of the same name is in the inventory", Scope.VM),
    Fault.INVENTORY_STALE: Kind("VMM's view stays as it is; refreshing does not help", Scope.SITE),
    Fault.ORPHANED_TEST_VM: Kind("A test VM that belongs to no relation is in the inventory", Scope.VM),
}


def find(name: str) -> Fault:
    """The fault of that name, in any case of letters. Raises SecondsiteError, with the choices."""
    found = next((fault for fault in Fault if fault.value.lower() == name.lower()), None)
    if found is None:
        raise SecondsiteError(f"There is no fault {name}", f"Choose one of {', '.join(Fault)}.")
    return found


def check(fault: Fault, vm_id: str, value: float | None) -> float | None:
    """The value to set it with, which may be the usual one. Raises SecondsiteError for what does not fit the fault."""
    kind = KINDS[fault]
    if vm_id and kind.scope is Scope.SITE:
        raise SecondsiteError(f"{fault} is of the whole site, not of one VM", "Leave --vm out.")
    if not vm_id and kind.scope is Scope.VM:
        raise SecondsiteError(f"{fault} is of one VM", "Name it with --vm.")
    if value is None:
        return kind.usual
    if not kind.unit:
        raise SecondsiteError(f"{fault} takes no value", "Leave --value out.")
    if not kind.least <= value <= kind.most:
        raise SecondsiteError(
            f"{fault} cannot have the value {value:g}", f"It takes {kind.least:g} to {kind.most:g} ({kind.unit})."
        )
    return value


def check_duration(seconds: float) -> float:
    """The seconds as they are. Raises SecondsiteError where they are none, or more than a year."""
    if not 0 <= seconds <= LONGEST:
        raise SecondsiteError(f"A fault cannot be of {seconds:g} seconds", f"It takes 0 to {LONGEST:g}.")
    return seconds
