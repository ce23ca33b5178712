"""Where the adapters of a test VM are connected. Read from the replica as it is configured, not from the source:
a test must be possible while the source is gone.
"""

from secondsite.api.kind import Object
from secondsite.api.testfailover import TestFailoverSpec
from secondsite.plan.testfailover.identity import network_id
from secondsite.plan.testfailover.progress import Progress
from secondsite.wire.arguments import AdapterPlan
from secondsite.wire.facts import AdapterSetting


def isolated(test: Object[TestFailoverSpec], member: Progress) -> bool:
    """Whether this VM needs the test's own isolated network."""
    match test.spec.network.type:
        case "Isolated":
            return True
        case "Planned":
            adapters = member.replica.adapters if member.replica is not None else ()
            return any(not adapter.test_network for adapter in adapters)
    return False


def adapters_for_test(test: Object[TestFailoverSpec], member: Progress) -> tuple[AdapterPlan, ...]:
    """Each adapter with the network of the test and its planned addresses."""
    adapters = member.replica.adapters if member.replica is not None else ()
    return tuple(_plan(adapter, _network(test, adapter)) for adapter in adapters)


def _network(test: Object[TestFailoverSpec], adapter: AdapterSetting) -> str:
    choice = test.spec.network
    match choice.type:
        case "None":
            return ""
        case "Existing":
            return choice.name or ""
        case "Isolated":
            return network_id(test)
    return adapter.test_network or network_id(test)


def _plan(adapter: AdapterSetting, network: str) -> AdapterPlan:
    # A DHCP adapter has no planned addresses; on an isolated network they do no harm.
    return AdapterPlan(adapter=adapter.adapter, network=network, addresses=adapter.addresses if network else ())
