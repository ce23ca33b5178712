"""What a site's address pools do when they are asked: pure functions over its view."""

from dataclasses import replace

import msgspec

from secondsite.plan.actions import Release, Reserve
from secondsite.plan.observed import SiteView


def reserve(view: SiteView, action: Reserve) -> SiteView:
    pools = dict(view.pools)
    for key, pool in pools.items():
        mine = (action.vm_id, action.adapter)
        if pool.network != action.wish.network or pool.cidr not in action.wish.subnets:
            continue
        taken = {address for *_, address in pool.reserved}
        address = next(a for n in range(10, 200) if (a := f"{pool.cidr.rpartition('.')[0]}.{n}") not in taken)
        pools[key] = msgspec.structs.replace(pool, reserved=(*pool.reserved, (*mine, address)), free=pool.free - 1)
    for address in action.wish.addresses:
        for key, pool in pools.items():
            if address.startswith(pool.cidr.rpartition(".")[0]):
                entry = (action.vm_id, action.adapter, address)
                pools[key] = msgspec.structs.replace(pool, reserved=(*pool.reserved, entry))
    return replace(view, pools=pools)


def release(view: SiteView, action: Release) -> SiteView:
    mine = (action.vm_id, action.adapter)
    pools = {
        key: msgspec.structs.replace(pool, reserved=tuple(each for each in pool.reserved if each[:2] != mine))
        for key, pool in view.pools.items()
    }
    return replace(view, pools=pools)
