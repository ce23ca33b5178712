"""One adapter, one target site and its mapping, planned."""

from typing import Any

from secondsite.plan.network.adapters import PlannedAdapter, Subject, plan_adapters
from secondsite.plan.observed import SiteView
from secondsite.wire.inventory import Adapter, Network, Subnet
from support import worlds as w
from support.worlds import MAC

V6_SOURCE, V6_TARGET = "fd00:1::/64", "fd00:2::/64"


def target(**fields: Any) -> SiteView:
    networks = {
        "dr": Network(
            "dr", "l", subnets=(Subnet("dr-a", "10.2.0.0/24"), Subnet("dr-6", V6_TARGET), Subnet("dr-b", "10.3.0.0/24"))
        ),
        "dr-test": Network("dr-test", "l"),
        "lab": Network("lab", "l"),
        "other": Network("other", "l", subnets=(Subnet("o", "10.9.0.0/24"),)),
    }
    return w.target_view(**{"networks": networks, **fields})


def lan(*addresses: str, **fields: Any) -> Adapter:
    return Adapter("lan", MAC, fields.get("network", "prod"), fields.get("subnet", "prod-a"), addresses)


def planned(
    adapter: Adapter, mapping: dict[str, Any] | None, *overrides: dict[str, Any], site: SiteView | None = None
) -> PlannedAdapter:
    """The plan for one adapter under one mapping."""
    mappings = () if mapping is None else (w.obj("lan", w.mapping_spec(**mapping)),)
    spec = w.vm_spec(networkAdapters=list(overrides))
    subject = Subject(w.machine(adapters=(adapter,)), "newyork", site or target(), mappings, spec.network_adapters)
    [found] = plan_adapters(subject)
    return found


def preserve(subnet: str) -> dict[str, Any]:
    return {"addressMode": "Preserve", "subnets": [{"source": subnet, "target": subnet}]}


def offset(source: str, to: str, **more: Any) -> dict[str, Any]:
    return {"addressMode": "Offset", "subnets": [{"source": source, "target": to, **more}]}
