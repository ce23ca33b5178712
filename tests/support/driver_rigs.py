"""Which drivers the contract suite runs against. A driver that is added here has to pass every test of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from secondsite.wire.agent import Capability
from support.driver_rig import Rig
from support.driver_rig_lab import LabRig

_BETTER = (Capability.RESYNC_KEEPS_RECOVERY_POINTS, Capability.SCAN_AFTER_CRASH, Capability.SYNCHRONIZE)

RIGS: dict[str, Callable[[Path], Rig]] = {
    "lab": lambda folder: LabRig("lab", folder),
    "lab-better": lambda folder: LabRig("lab-better", folder, _BETTER),
}
