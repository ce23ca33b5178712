"""Who holds which address at the target: reservations in pools, and the machines that run there."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from secondsite.plan.network.texts import canonical
from secondsite.plan.observed import SiteView
from secondsite.wire.inventory import Pool


@dataclass(frozen=True, slots=True)
class Holdings:
    """Seen from one VM."""

    vm_id: str = ""
    reserved: Mapping[tuple[str, str], tuple[str, str]] = field(default_factory=dict)
    """(network, address) → (VM id, adapter)."""
    used: Mapping[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    """(network, address) → ids of production VMs."""

    @classmethod
    def of(cls, vm_id: str, site: SiteView) -> Self:
        """What a site reports."""
        reserved = {
            (pool.network, canonical(address)): (holder, adapter)
            for pool in site.pools.values()
            for holder, adapter, address in pool.reserved
        }
        return cls(vm_id, reserved, site.holders)

    def other(self, network: str, address: str, adapter: str) -> str:
        """Who else holds an address; empty where nobody does."""
        holder = self.reserved.get((network, address))
        if holder is not None and holder != (self.vm_id, adapter):
            return f"VM {holder[0]}"
        users = [vm_id for vm_id in self.used.get((network, address), ()) if vm_id != self.vm_id]
        return f"VM {users[0]}" if users else ""

    def mine(self, pool: Pool, adapter: str, fixed: list[str]) -> str:
        """The address of a pool that this adapter holds beside its fixed ones; empty where it holds none."""
        held = sorted(address for vm, mac, address in pool.reserved if (vm, mac) == (self.vm_id, adapter))
        return next((address for address in held if canonical(address) not in fixed), "")

    def of_adapter(self, adapter: str) -> frozenset[tuple[str, str]]:
        """(network, address) of everything that an adapter of this VM holds."""
        return frozenset(key for key, holder in self.reserved.items() if holder == (self.vm_id, adapter))
