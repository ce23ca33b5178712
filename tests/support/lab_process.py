"""A lab site in a process of its own, so that it can be killed: `python -m support.lab_process CONFIG.json`.

It answers one JSON line per command on its standard input; everything else is asked over lab.sock.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import yaml

from secondsite import logs
from secondsite.errors import SecondsiteError
from secondsite.trust.identity import Identity, Trust
from secondsite.wire.agent import Settings as SiteSettings
from secondsite.wire.arguments import ARGUMENTS
from secondsite.wire.base import Message
from secondsite.wire.operations import Verb
from secondsite.wire.problems import Refusal
from secondsite.wire.resources import AssociationWish
from support.lab import HURRY, LabSite, SiteTLS
from support.patience import until
from support.vault import Vault


class KillableSite(LabSite):
    """A site as a child process. Its facts are not seen here: it is judged by its disks."""

    process: asyncio.subprocess.Process | None = None

    @classmethod
    def make(cls, name: str, folder: Path, centre: dict[str, Any], vault: Vault, hurry: float = HURRY) -> KillableSite:
        site = cls(name, folder, centre, vault, hurry=hurry)
        identity, trust = vault.agent(name), vault.trust()
        config = {
            "name": name,
            "hurry": hurry,
            "folder": str(folder),
            "certificate": identity.certificate_pem,
            "key": identity.key_pem,
            "vault": trust.vault_id,
            "authorities": list(trust.authorities),
        }
        site.config.write_text(json.dumps(config), encoding="utf-8")
        return site

    @property
    def config(self) -> Path:
        return self.file.with_suffix(".json")

    async def start(self) -> None:
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        # Its log is for whoever reads a failure.
        with self.file.with_suffix(".log").open("ab") as log:
            self.process = await self._spawn(environment, log)
        assert self.process.stdout is not None
        assert await self.process.stdout.readline() == b"ready\n", f"{self.name} did not start"

    async def _spawn(self, environment: dict[str, str], log: IO[bytes]) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "support.lab_process",
            str(self.config),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
            env=environment,
        )

    async def kill(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        await self.process.wait()

    async def kill_after(self, seconds: float) -> None:
        """Kill it at a moment that is not chosen by what it does."""
        assert self.process is not None
        try:
            await asyncio.wait_for(self.process.wait(), seconds)
        except TimeoutError:
            await self.kill()
        else:
            raise AssertionError(f"{self.name} died by itself")

    async def tell(self, call: str, arguments: Message, **more: Any) -> dict[str, Any]:
        assert self.process is not None
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        request = {"call": call, "arguments": arguments.model_dump(mode="json", by_alias=True), **more}
        self.process.stdin.write(json.dumps(request).encode() + b"\n")
        answer: dict[str, Any] = json.loads(await self.process.stdout.readline())
        assert "refused" not in answer, f"{self.name}: {answer}"
        return answer

    async def do(self, verb: Verb, vm_id: str, arguments: Message | None = None, **more: Any) -> dict[str, str]:
        return await self.tell(verb.value, arguments or Message(), vmID=vm_id)

    async def half(self, vm_id: str) -> str:
        """State of its half, `Disabled` without one."""
        halves: dict[str, Any] = (await self.ask(ask="status"))["halves"]
        return str(halves[vm_id]["state"]) if vm_id in halves else "Disabled"


async def eventually(check: Callable[[], Any], seconds: float = 60) -> None:
    """Like `until`, for a condition that has to be awaited and may find nobody at home."""
    found: list[bool] = []

    async def look() -> None:
        while not found:
            try:
                if await check():
                    found.append(True)
            except SecondsiteError:
                continue

    task = asyncio.create_task(look())
    try:
        await until(task.done, seconds)
    finally:
        task.cancel()


@dataclass
class Killer:
    """Kills one of the sites at random moments and starts it again."""

    sites: list[KillableSite]
    seed: int
    kills: int = 0
    random: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)

    async def strike(self, longest_seconds: float) -> None:
        site = self.random.choice(self.sites)
        await site.kill_after(self.random.uniform(0.02, longest_seconds))
        await site.start()
        self.kills += 1


async def _serve(config: dict[str, Any]) -> None:
    folder = Path(config["folder"])
    centre = yaml.safe_load((folder / f"{config['name']}.yaml").read_text(encoding="utf-8"))
    site = LabSite(config["name"], folder, centre, Vault(), hurry=config["hurry"], keep_every_cycle=True)
    identity = Identity.load(config["certificate"], config["key"])
    site.tls = SiteTLS(identity, Trust(config["vault"], tuple(config["authorities"])))
    await site.start()
    print("ready", flush=True)
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        print(json.dumps(await _answer(site, json.loads(line))), flush=True)
    await site.driver.stop()


async def _answer(site: LabSite, request: dict[str, Any]) -> dict[str, Any]:
    arguments = request["arguments"]
    try:
        if request["call"] == "associate":
            answer = await site.driver.associate(request["id"], AssociationWish.model_validate(arguments))
            return answer.model_dump(mode="json")
        if request["call"] == "apply":
            await site.driver.apply(SiteSettings.model_validate(arguments))
            return {}
        verb = Verb(request["call"])
        return dict(await site.do(verb, request["vmID"], ARGUMENTS[verb].model_validate(arguments)))
    except Refusal as refusal:
        return {"refused": str(refusal)}


if __name__ == "__main__":
    logs.configure("info", "console")
    asyncio.run(_serve(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))))
