"""Who holds which address at the target: reservations in pools, and the machines that run there.

Pools may hold thousands of reservations and this is asked in every turn of every VM: so they are searched as they are,
and addresses are compared as the site writes them (canonically, as `str(ip_address(...))` does).
"""

from dataclasses import dataclass

from secondsite.plan.observed import SiteView
from secondsite.wire.inventory import Pool


@dataclass(frozen=True, slots=True)
class Holdings:
    """Seen from one VM."""

    vm_id: str
    site: SiteView

    def other(self, network: str, address: str, adapter: str) -> str:
        """Who else holds an address; empty where nobody does."""
        for pool in self._pools(network):
            for holder, mac, held in pool.reserved:
                if held == address and (holder, mac) != (self.vm_id, adapter):
                    return f"VM {holder}"
        users = [vm_id for vm_id in self.site.holders.get((network, address), ()) if vm_id != self.vm_id]
        return f"VM {users[0]}" if users else ""

    def mine(self, pool: Pool, adapter: str, fixed: list[str]) -> str:
        """The address of a pool that this adapter holds beside its fixed ones; empty where it holds none."""
        held = sorted(address for vm, mac, address in pool.reserved if vm == self.vm_id and mac == adapter)
        return next((address for address in held if address not in fixed), "")

    def of_vm(self) -> dict[str, set[tuple[str, str]]]:
        """By adapter, (network, address) of everything that this VM holds."""
        found: dict[str, set[tuple[str, str]]] = {}
        for pool in self.site.pools.values():
            for holder, adapter, address in pool.reserved:
                if holder == self.vm_id:
                    found.setdefault(adapter, set()).add((pool.network, address))
        return found

    def _pools(self, network: str) -> list[Pool]:
        return [pool for pool in self.site.pools.values() if pool.network == network]
