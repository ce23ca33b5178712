"""The kill harness: runs source and target, kills them at random moments, and compares every point with the truth."""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from secondsite.agent.lab.engine import TargetStore
from support.engine_truth import wrong_sectors

_ROOT = Path(__file__).resolve().parents[2]
MIB = 1 << 20


@dataclass
class Verdict:
    """What the harness saw. `wrong` maps a point to its number of wrong sectors."""

    kills: int = 0
    kills_in_initial: int = 0
    points: int = 0
    wrong: dict[str, int] = field(default_factory=dict)
    cycles: list[dict[str, Any]] = field(default_factory=list)


class Soak:
    """Two processes and a random generator with a grudge."""

    def __init__(self, folder: Path, *, mutant: str = "none", seed: int, **changes: Any) -> None:
        self._folder = folder
        self._random = random.Random(seed)
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self.verdict = Verdict()
        for name in ("source", "target"):
            (folder / name).mkdir()
        self.config: dict[str, Any] = {
            "source": str(folder / "source"),
            "target": str(folder / "target"),
            "port": _free_port(),
            "mutant": mutant,
            "disks": {"data": 8 * MIB, "system": 48 * MIB + 4096},
            "fill": 0.6,
            "writes_per_second": 50,
            "rate": 7 * MIB,
            "keep_every": 1.0,
            "retention": 20.0,
        } | changes
        self._config_file = folder / "config.json"
        self._config_file.write_text(json.dumps(self.config), encoding="utf-8")

    def __enter__(self) -> Self:
        for name in ("target", "source"):
            self._start(name)
        return self

    def __exit__(self, *_: object) -> None:
        for name in list(self._processes):
            self._kill(name)

    def events(self) -> list[dict[str, Any]]:
        path = self._folder / "source" / "events.jsonl"
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        return [json.loads(line) for line in lines]

    def cycles(self) -> list[dict[str, Any]]:
        return [event for event in self.events() if event["event"] == "cycle"]

    def kill_some(self, count: int) -> None:
        """Kill one side or the other `count` times, at random moments, and start it again each time."""
        for _ in range(count):
            victim = self._random.choice(["source", "target"])
            time.sleep(self._random.uniform(0.05, 1.4))  # a random moment is the point here, nothing is awaited
            self.verdict.kills_in_initial += not self.cycles()
            self.kill(victim)

    def kill(self, victim: str) -> None:
        """Kill one side and start it again; back when it works again."""
        lives = self._lives()
        self._kill(victim)
        self.verdict.kills += 1
        self._start(victim)
        if victim == "source":
            # Dying while it starts would be no test of anything.
            wait_until(lambda: self._lives() > lives, 20)

    def kill_source_in_a_cycle(self) -> None:
        """Kill the source when a cycle has sent some, but not all."""
        wait_until(lambda: any((self._folder / "target" / "disks").glob("*/incoming/*.part")), 20)
        time.sleep(self._random.uniform(0.2, 0.8))  # as above
        self.kill("source")

    def _lives(self) -> int:
        return sum(event["event"] == "started" for event in self.events())

    def settle(self, cycles: int) -> None:
        """Wait until so many more cycles were committed."""
        wanted = len(self.cycles()) + cycles
        wait_until(lambda: self._revive() or len(self.cycles()) >= wanted, 40)

    def _revive(self) -> bool:
        """Start again what died by itself, as some mutants do; false, so that waiting goes on."""
        for name in [name for name, process in self._processes.items() if process.poll() is not None]:
            self._start(name)
        return False

    def judge(self) -> Verdict:
        """Stop everything the hard way, open the store, compare every point."""
        self.__exit__()
        store = TargetStore(self._folder / "target", "vm")
        try:
            for point in store.points():
                self.verdict.points += 1
                wrong = wrong_sectors(store, point.id, self._folder / "source")
                if wrong:
                    self.verdict.wrong[point.id] = wrong
        finally:
            store.close()
        self.verdict.cycles = self.cycles()
        return self.verdict

    def _start(self, name: str) -> None:
        path = os.pathsep.join([str(_ROOT / "operator"), str(_ROOT / "tests")])
        command = [sys.executable, "-m", "support.engine_processes", name, str(self._config_file)]
        with (self._folder / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(command, env=os.environ | {"PYTHONPATH": path}, stderr=log)

    def _kill(self, name: str) -> None:
        process = self._processes.pop(name)
        process.send_signal(signal.SIGKILL)
        process.wait()


def wait_until(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not true after {seconds} s")
        time.sleep(0.02)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
