"""How fast the lab's hypervisor is, and what it puts up with."""

from __future__ import annotations

from pydantic import Field

from secondsite.agent.lab.datacentre.parts import Part


class Knobs(Part):
    """Timings of the hypervisor. Defaults are Hyper-V's; seconds before the lab's hurry divides them."""

    retry_seconds: float = Field(default=300, gt=0)
    initial_retries: int = Field(default=12, ge=0)
    stale_seconds: float = Field(default=3600, gt=0)
    missed_percent: float = Field(default=20, ge=0, le=100)
    latency_seconds: float = Field(default=300, gt=0)
    monitoring_seconds: float = Field(default=12 * 3600, gt=0)
    point_spacing_seconds: float = Field(default=3600, gt=0)
    log_limit_percent: float = Field(default=50, gt=0, le=100)
    """How much of the VM's disks may be unsent before a resynchronization is needed."""
    maximum_active_transfers: int = Field(default=3, ge=1, le=1024)
    """Cycles that one host sends at the same time; the others wait."""
    blackout_seconds: float = Field(default=0, ge=0)
    """How long relations cannot be read after a restart of the VMMS; Hyper-V needs up to a minute."""
    test_vm_seconds: float = Field(default=0, ge=0)
    """How long a test VM takes to be made: Hyper-V needs 5 to 20."""
    failover_seconds: float = Field(default=0, ge=0)
    """How long a failover takes to be carried out (state 13): Hyper-V needs 5 to 30."""
