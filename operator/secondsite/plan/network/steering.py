"""What an override of a ProtectedVM does to the route that the mapping gives its adapter."""

from dataclasses import replace

from secondsite.api.protectedvm import AdapterOverride
from secondsite.plan.network.routes import Pair, Route
from secondsite.plan.network.texts import Subnet, to_subnet


def steer(mapped: Route | None, override: AdapterOverride | None) -> Route | None:
    """The route with the override's wishes in it; None where neither says to which network."""
    if override is None:
        return mapped
    network = override.target_network or (mapped.network if mapped else "")
    if not network:
        return None
    base = mapped if mapped and mapped.network == network else Route(network)
    subnet = to_subnet(override.target_subnet or "")
    if subnet is not None:
        base = _into(base, subnet)
    return replace(base, test_network=override.test_network or base.test_network)


def _into(base: Route, subnet: Subnet) -> Route:
    """All addresses of its family into one subnet: by the mapping's mode, without a mapping from the subnet's pool."""
    pairs = tuple(Pair(p.source, subnet) for p in base.pairs if p.source.version == subnet.version)
    if not pairs:
        everything = to_subnet("0.0.0.0/0" if subnet.version == 4 else "::/0")
        pairs = (Pair(everything, subnet),) if everything else ()
    return replace(base, mode=base.mode if base.mapping else "Pool", pairs=pairs)
