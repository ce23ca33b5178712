"""A `MovingPair` of two processes, which are killed while VMs move between them."""

from __future__ import annotations

import asyncio
import json
import random
from pathlib import Path
from typing import Any

from secondsite.wire.arguments import Endpoint
from secondsite.wire.base import Message
from secondsite.wire.operations import Verb
from support.lab import ASSOCIATION, LabPair
from support.lab_centres import WEB, source_centre, target_centre
from support.lab_failover import BACK, HURRY, MovingPair
from support.lab_process import KillableSite, eventually
from support.vault import Vault


class KillableMove(MovingPair):
    """Commands as an operator does: it looks what state a half is in, commands, and looks again."""

    def __init__(self, folder: Path, seed: int) -> None:
        vault = Vault()
        sites = [
            KillableSite.make(name, folder, centre, vault, HURRY)
            for name, centre in (("east", source_centre()), ("west", target_centre()))
        ]
        super().__init__(LabPair(sites[0], sites[1]))
        self.random = random.Random(seed)
        self.kills = 0

    async def start(self) -> None:
        """Both run, and either may replicate to the other."""
        for site in (self.east, self.west):
            await site.start()
        answer = await self.process(self.west).tell("associate", self.pair.wish("Target"), id=ASSOCIATION)
        forth = self.pair.wish("Source").model_copy(
            update={"endpoint": Endpoint.model_validate(answer["data_endpoint"])}
        )
        await self.process(self.east).tell("associate", forth, id=ASSOCIATION)
        await self.process(self.east).tell("associate", self.back("Target"), id=BACK)
        endpoint = Endpoint(host="hv1.east", address="127.0.0.1", port=self.ports["east"])
        back = self.back("Source").model_copy(update={"endpoint": endpoint})
        await self.process(self.west).tell("associate", back, id=BACK)

    def process(self, site: Any) -> KillableSite:
        assert isinstance(site, KillableSite)
        return site

    async def half(self, site: Any) -> tuple[str, str]:
        """Side and state of a site's half."""
        found = (await site.ask(ask="status"))["halves"].get(WEB)
        return (found["side"], found["state"]) if found else ("None", "Disabled")

    async def insist(
        self, site: Any, verb: Verb, arguments: Message | None, done: set[tuple[str, str]], victim: Any
    ) -> None:
        """Command, and kill `victim` at some moment of it; command again until the site says that it is done."""
        first = True
        while await self.half(site) not in done:
            doing = asyncio.create_task(self._try(site, verb, arguments))
            if first:
                await self.process(victim).kill_after(self.random.uniform(0, 0.06))
                await doing
                await self.process(victim).start()
                self.kills += 1
                first = False
            await doing

    async def _try(self, site: Any, verb: Verb, arguments: Message | None) -> None:
        try:
            await self.process(site).do(verb, WEB, arguments)
        except (json.JSONDecodeError, ConnectionError, AssertionError):
            # Killed, or refused: the next look tells.
            return

    async def until_half(self, site: Any, expected: tuple[str, str]) -> None:
        async def reached() -> bool:
            return await self.half(site) == expected

        await eventually(reached)

    async def newest_point(self, site: Any, vm_id: str = WEB) -> dict[str, Any]:
        """As of `MovingPair`, asked of the process."""
        points = (await site.ask(ask="truth", vmID=vm_id))["points"]
        return dict(await site.ask(ask="replay", vmID=vm_id, point=points[-1]["id"], disks=str(self.east.file)))

    async def stop(self) -> None:
        for site in (self.east, self.west):
            await self.process(site).kill()
