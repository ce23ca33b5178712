"""The kill harness: runs source and target, kills them at random moments, and compares every point with the truth."""

import contextlib
import json
import os
import random
import select
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from secondsite.agent.lab.engine import EngineError, TargetStore
from support.engine_chores import ClonedGuest, clone_folder
from support.engine_truth import wrong_in_point

_ROOT = Path(__file__).resolve().parents[2]
MIB = 1 << 20
SIDES = ("source", "target")


@dataclass
class Verdict:
    """What the harness saw. `wrong` maps a point or a clone to its number of wrong blocks of 64 KiB."""

    kills: Counter[str] = field(default_factory=Counter)
    kills_in_initial: int = 0
    cycles: list[dict[str, Any]] = field(default_factory=list)
    points: int = 0
    clones: int = 0
    chores: Counter[str] = field(default_factory=Counter)
    wrong: dict[str, int] = field(default_factory=dict)
    # Agreements between the two sides that did not hold.
    broken: list[str] = field(default_factory=list)

    @property
    def bad_blocks(self) -> int:
        return sum(self.wrong.values())

    @property
    def clean(self) -> bool:
        return not self.wrong and not self.broken


class Life:
    """A process by its descriptor: never another one that has got its number."""

    def __init__(self, pid: int) -> None:
        self._fd = os.pidfd_open(pid)

    @property
    def ended(self) -> bool:
        return bool(select.select([self._fd], [], [], 0)[0])

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._fd, signal.SIGKILL)
        select.select([self._fd], [], [])
        os.close(self._fd)


class Zygote:
    """Starts the programs of the harness by forks of a process that has imported everything already."""

    def __init__(self) -> None:
        path = os.pathsep.join([str(_ROOT / "operator"), str(_ROOT / "tests")])
        # A fork takes one thread along: there must be no other.
        environment = os.environ | {"PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "support.engine_processes"]
        self._process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def start(self, program: str, config: Path) -> Life:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"program": program, "config": str(config)}) + "\n")
        self._process.stdin.flush()
        return Life(int(self._process.stdout.readline()))


class Soak:
    """One replicated VM and a random generator with a grudge against both of its sides."""

    def __init__(self, zygote: Zygote, folder: Path, *, mutant: str = "none", seed: int, **changes: Any) -> None:
        self._zygote = zygote
        self._random = random.Random(seed)
        self._lives: dict[str, Life] = {}
        self.verdict = Verdict()
        self.config: dict[str, Any] = {
            "source": str(folder / "source"),
            "target": str(folder / "target"),
            "port": _free_port(),
            "mutant": mutant,
            "disks": {"data": 4 * MIB, "system": 12 * MIB + 4096},
            "fill": 0.6,
            "writes_per_second": 150,
            "rate": 12 * MIB,
            "pause": 0.02,
            # How often the source pretends that its map was lost: a comparison would mend what a mutant breaks.
            "distrust": 0.0,
            "keep_every": 0.5,
            "retention": 8.0,
        } | changes
        for name in SIDES:
            (folder / name).mkdir(parents=True)
        self._config_file = folder / "config.json"
        self._config_file.write_text(json.dumps(self.config), encoding="utf-8")

    def __enter__(self) -> Self:
        for name in ("target", "source"):
            self._lives[name] = self._zygote.start(name, self._config_file)
        return self

    def __exit__(self, *_: object) -> None:
        for name in list(self._lives):
            self._lives.pop(name).kill()

    def events(self, side: str) -> list[dict[str, Any]]:
        path = Path(self.config[side], "events.jsonl")
        lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
        # A kill may have torn the last one.
        return [json.loads(line) for line in lines if line.endswith(b"\n")]

    def cycles(self) -> list[dict[str, Any]]:
        return [event for event in self.events("source") if event["event"] == "cycle"]

    def kill_some(self, count: int, *, longest: float = 0.4) -> None:
        """Kill one side or the other `count` times, at random moments, and start it again each time."""
        for _ in range(count):
            time.sleep(self._random.uniform(0.0, longest))  # a random moment is the point here, nothing is awaited
            self.verdict.kills_in_initial += not self.cycles()
            self.kill(self._random.choice(SIDES))

    def kill(self, victim: str) -> None:
        """Kill one side and start it again; back when it works again."""
        started = self._started()
        self._lives.pop(victim).kill()
        self.verdict.kills[victim] += 1
        self._lives[victim] = self._zygote.start(victim, self._config_file)
        if victim == "source":
            # Dying while it starts would be no test of anything.
            wait_until(lambda: self._started() > started or self._lives["source"].ended, 20)

    def kill_until_caught(self, seconds: float) -> float | None:
        """Kill at random until something is seen to be wrong; after how many seconds that was, None for not at all."""
        begin = time.monotonic()
        while time.monotonic() - begin < seconds:
            if self.suspicious():
                return time.monotonic() - begin
            self.kill_some(1)
        return time.monotonic() - begin if self.suspicious() else None

    def suspicious(self) -> bool:
        """Whether either side has seen something that must not be."""
        return any(event["event"] == "died" or event.get("wrong") for side in SIDES for event in self.events(side))

    def settle(self, cycles: int) -> None:
        """Wait until so many more cycles were committed, or the source gave up."""
        wanted = len(self.cycles()) + cycles
        wait_until(lambda: len(self.cycles()) >= wanted or self._lives["source"].ended, 60)

    def judge(self) -> Verdict:
        """Stop everything the hard way, open the store, compare every point and every clone."""
        self.__exit__()
        verdict = self.verdict
        verdict.cycles = self.cycles()
        verdict.broken += [event["detail"] for side in SIDES for event in self.events(side) if event["event"] == "died"]
        for event in [event for side in SIDES for event in self.events(side)]:
            verdict.chores[event["event"]] += event.get("count", 1)
            if event.get("wrong"):
                verdict.wrong[event.get("point", event["event"])] = event["wrong"]
        try:
            self._judge_store()
        except EngineError as error:
            verdict.broken.append(f"{type(error).__name__}: {error}")
        return verdict

    def _judge_store(self) -> None:
        store = TargetStore(Path(self.config["target"]), "vm")
        try:
            points = [point.id for point in store.points()]
            self._judge_promises(points)
            for point in points:
                self._count(point, wrong_in_point(store, point, Path(self.config["source"])))
            self.verdict.points += len(points)
            for info in store.clones():
                guest = ClonedGuest(store, info.clone_id, clone_folder(self.config, info.clone_id))
                self._count(info.clone_id, guest.wrong_blocks())
                guest.clone.close()
                self.verdict.clones += 1
        finally:
            store.close()

    def _judge_promises(self, points: list[str]) -> None:
        """The newest point is the last one that the source was told of, or one that came after it."""
        told = [event["id"] for event in self.verdict.cycles]
        if told and (not points or (points[-1] in told and points[-1] != told[-1])):
            self.verdict.broken.append(f"point {told[-1]} was acknowledged and is lost; the newest are {points[-3:]}")

    def _count(self, name: str, wrong: int) -> None:
        if wrong:
            self.verdict.wrong[name] = wrong

    def _started(self) -> int:
        return sum(event["event"] == "started" for event in self.events("source"))


def wait_until(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not true after {seconds} s")
        time.sleep(0.005)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
