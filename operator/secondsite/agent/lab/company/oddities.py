"""One VM in twenty cannot be protected: every obstacle that a company collects over the years, each on some VM."""

from __future__ import annotations

from collections.abc import Callable

from secondsite.agent.lab.company.plan import NEW_HOSTS, Body

Change = Callable[[Body], object]


def _vm(**fields: object) -> Change:
    return lambda vm: vm.update(fields)


def _last_disk(**fields: object) -> Change:
    return lambda vm: vm["disks"][-1].update(fields)


def _more_disk(**fields: object) -> Change:
    return lambda vm: vm["disks"].append({"slot": {"controllerLocation": 9}, "size": "16MiB", **fields})


def _large(vm: Body) -> None:
    # It counts against no storage: its file is sparse, and nobody could say where it fits.
    vm["storage"] = ""
    _more_disk(size="2041GiB", format="VHD")(vm)


ODDITIES: tuple[tuple[str, int, Change], ...] = (
    ("dc", 6, _vm(shielded=True, virtualTpm=True)),
    ("fs", 20, _last_disk(passThrough=True)),
    ("fs", 21, _vm(status="MergingDrives", checkpoints=2)),
    ("fs", 22, _vm(protectionProvider="SANReplication")),
    ("erp", 40, _vm(protectionProvider="HVRAzure")),
    ("erp", 41, _vm(status="UnderMigration")),
    ("erp", 42, _vm(highlyAvailable=False)),
    ("bat", 14, _vm(highlyAvailable=False)),
    ("web", 84, _vm(status="CreatingCheckpoint")),
    ("int", 46, _vm(status="UnsupportedCluster")),
    ("mail", 8, _last_disk(shared=True)),
    ("prt", 6, _vm(status="Missing")),
    ("leg", 12, _large),
    ("leg", 13, _more_disk(passThrough=True)),
    ("leg", 14, _vm(status="IncompleteVMConfig", dvd="erp-setup.iso")),
    ("sql", 51, _vm(guestCluster="sql-fci-1")),
    ("sql", 52, _vm(guestCluster="sql-fci-1")),
    ("sql", 53, _last_disk(format="VHDSet", shared=True)),
    ("sql", 54, _last_disk(format="VHDSet", shared=True)),
    ("vdi", 95, _vm(virtualTpm=True)),
    ("vdi", 96, _vm(virtualTpm=True)),
)
"""Prefix of the tier, number of the VM in it, and what is the matter."""
_NEWEST = "12.0"


def spoil(vms: list[Body], short: str) -> None:
    """Change the VMs in place. Some more stand on a host that is silent, or are newer than any host elsewhere runs."""
    named = {vm["name"]: vm for vm in vms}
    for prefix, number, change in ODDITIES:
        change(named[f"{short}-{prefix}{number:03}"])
    for host in NEW_HOSTS:
        named[f"{short}-dev{host + 1:03}"]["configurationVersion"] = _NEWEST
    twin = named[f"{short}-web083"]
    twin["name"] = f"{short}-web001"
