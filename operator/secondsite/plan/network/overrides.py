"""Which override of a ProtectedVM is meant for which adapter, and which is meant for none or for several."""

from dataclasses import dataclass

from secondsite.api.protectedvm import AdapterOverride
from secondsite.api.protectedvm_reasons import ProtectedVMReason
from secondsite.plan.conditions import named
from secondsite.wire.inventory import Adapter


@dataclass(frozen=True, slots=True)
class OverrideProblem:
    """An override that cannot be applied."""

    reason: ProtectedVMReason
    message: str
    action: str


def match(
    adapters: tuple[Adapter, ...], overrides: tuple[AdapterOverride, ...]
) -> tuple[dict[str, AdapterOverride], tuple[OverrideProblem, ...]]:
    """Overrides by MAC address, and what is wrong with the others."""
    found: dict[str, AdapterOverride] = {}
    problems: list[OverrideProblem] = []
    for override in overrides:
        meant = _meant(adapters, override)
        problem = _problem(adapters, override, meant) or _taken(override, meant[0], found)
        if problem is None:
            found[meant[0].mac_address] = override
        else:
            problems.append(problem)
    return found, tuple(problems)


def _meant(adapters: tuple[Adapter, ...], override: AdapterOverride) -> list[Adapter]:
    ref = override.adapter
    if ref.mac_address:
        return [adapter for adapter in adapters if adapter.mac_address.upper() == ref.mac_address.upper()]
    return [adapter for adapter in adapters if adapter.name == ref.name]


def _problem(adapters: tuple[Adapter, ...], override: AdapterOverride, meant: list[Adapter]) -> OverrideProblem | None:
    wanted = override.adapter.mac_address or override.adapter.name
    if not meant:
        there = named(f"{adapter.name} ({adapter.mac_address})" for adapter in adapters) or "none"
        return OverrideProblem(
            ProtectedVMReason.ADAPTER_NOT_FOUND,
            f"spec.networkAdapters names adapter '{wanted}', which the VM does not have; it has: {there}",
            "Name one of these adapters, or remove the override.",
        )
    if len(meant) > 1:
        macs = ", ".join(adapter.mac_address for adapter in meant)
        return OverrideProblem(
            ProtectedVMReason.ADAPTER_NAME_NOT_UNIQUE,
            f"spec.networkAdapters names adapter '{wanted}', and {len(meant)} adapters have that name: {macs}",
            f"Name the adapter by macAddress instead, one of {macs}.",
        )
    return None


def _taken(override: AdapterOverride, adapter: Adapter, found: dict[str, AdapterOverride]) -> OverrideProblem | None:
    if adapter.mac_address not in found:
        return None
    wanted = override.adapter.mac_address or override.adapter.name
    return OverrideProblem(
        ProtectedVMReason.ADAPTER_NAME_NOT_UNIQUE,
        f"spec.networkAdapters has two overrides for one adapter, '{wanted}' ({adapter.mac_address})",
        "Keep one of the two.",
    )
