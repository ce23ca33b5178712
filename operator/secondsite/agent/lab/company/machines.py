"""The VMs of a site, tier by tier."""

from __future__ import annotations

import random
import uuid
from collections import defaultdict
from collections.abc import Iterator
from itertools import count

from secondsite.agent.lab.company.plan import (
    BRANCH_NET,
    BRANCHES,
    GROUPS,
    NETS,
    Body,
    SitePlan,
    branch_cidr,
    hosts,
)
from secondsite.agent.lab.company.tiers import TIERS, Tier

_FIRST_STATIC = 20
_DHCP = "Desktops"


class Maker:
    """Makes VMs one after the other; what it gives out (addresses, MACs, hosts in turn) it gives once."""

    def __init__(self, site: SitePlan, seed: int) -> None:
        self._site = site
        # Reproducible is what it has to be, not secret.
        self._random = random.Random(f"{seed} {site.name}")  # noqa: S311 - the same for the same seed
        self._nets = {net.name: net for net in NETS}
        self._hosts = {group.name: hosts(site, group) for group in GROUPS}
        self._clouds = {group.name: group.cloud for group in GROUPS}
        self._macs = count(1)
        self._statics: defaultdict[str, Iterator[int]] = defaultdict(lambda: count(_FIRST_STATIC))

    def all(self) -> list[Body]:
        """Every VM."""
        return [self._machine(tier, number) for tier in TIERS for number in range(tier.count)]

    def _machine(self, tier: Tier, number: int) -> Body:
        machines = self._hosts[tier.group]
        made: Body = {
            "id": str(uuid.UUID(int=self._random.getrandbits(128), version=4)),
            "name": f"{self._site.short}-{tier.prefix}{number + 1:03}",
            "cloud": self._clouds[tier.group],
            "host": machines[number % len(machines)],
            "storage": tier.storage,
        }
        if tier.generation == 1:
            made |= {"generation": 1, "configurationVersion": "8.0"}
        elif self._random.random() < 0.2:
            made["configurationVersion"] = self._random.choice(["8.0", "9.0"])
        if self._random.random() < 0.04:
            made["state"] = "Off"
        if self._random.random() < 0.05:
            made["checkpoints"] = self._random.randint(1, 3)
        made |= {"operatingSystem": self._random.choice(tier.systems), "guest": self._guest(tier, number, made["name"])}
        made["disks"] = [self._disk(tier, at, size, made.get("checkpoints", 0)) for at, size in enumerate(tier.disks)]
        made["adapters"] = [self._adapter(tier, name, number) for name in tier.networks]
        return made

    def _guest(self, tier: Tier, number: int, name: str) -> Body:
        guest: Body = {"seed": self._random.getrandbits(31)}
        if tier.writes and number == 0:
            guest["writesPerSecond"] = tier.writes
        if tier.port:
            guest["services"] = [{"port": tier.port, "body": name}]
        return guest

    def _disk(self, tier: Tier, at: int, size: int, checkpoints: int) -> Body:
        made: Body = {"slot": {"controllerLocation": at}, "size": f"{size}MiB", "seed": self._random.getrandbits(31)}
        if tier.generation == 1 and at == 0:
            made |= {"slot": {"controllerType": "IDE", "controllerLocation": 0}, "format": "VHD"}
        if checkpoints:
            made["chain"] = checkpoints
        return made

    def _adapter(self, tier: Tier, network: str, number: int) -> Body:
        mac = next(self._macs)
        made: Body = {} if tier.same_names or len(tier.networks) == 1 else {"name": network}
        made["mac"] = f"00:15:5D:{self._site.octet:02X}:{mac >> 8:02X}:{mac & 255:02X}"
        if tier.legacy:
            made["legacy"] = True
        if network == _DHCP:
            return made | {"macType": "Dynamic", "network": network, "subnet": f"{network}-v4"}
        if network == BRANCH_NET:
            cidr = branch_cidr(self._site, number % BRANCHES)
            return made | {"network": network, "addresses": [str(cidr[_FIRST_STATIC + number])]}
        return made | {"network": network, "subnet": f"{network}-v4", "addresses": self._addresses(network)}

    def _addresses(self, network: str) -> list[str]:
        net, host = self._nets[network], next(self._statics[network])
        if net.stretched:
            # One network over both sites: each gives out of its own half.
            host += 0 if self._site.octet == 40 else 300
        addresses = [str(net.four(self._site)[host])]
        return [*addresses, str(net.six_at(self._site)[host])] if net.six else addresses
