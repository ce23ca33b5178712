"""The order in which everything is measured."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from bench import clones, copies, deltas, guest, limits
from bench.agents import Agents, agents
from bench.contest import Contest, Opened, Timing, measure
from bench.machine import Quiet
from bench.peers import missing
from bench.quiet import RELATIONS
from bench.quiet import measure as measure_quiet
from bench.results import LIMIT, MEMORY, Results
from bench.world import World
from secondsite.wire.peer import HashBasis

Say = Callable[[str], None]


@dataclass
class Program:
    """`say` gets each result as soon as it is there."""

    world: World
    runs: int
    quiet: Quiet
    say: Say
    relations: int = RELATIONS
    results: Results = field(default_factory=Results)

    def copies(self) -> None:
        """Initial copies."""
        with self._pair() as pair:
            self._time_cpu(pair, copies.engine(pair), self.runs)
        with self._pair(tls=True) as pair:
            self._time_cpu(pair, copies.engine(pair, copies.ENGINE_TLS), self._fewer)
        self._peers(copies.NEEDS, copies.rsync, copies.qemu, copies.nbdcopy, copies.cp)

    def deltas(self) -> None:
        """Deltas of all kinds, and what can be done with the points that they make."""
        with self._pair(tls=True) as pair:
            self._initial(pair)
            self._time(deltas.tracked(pair, deltas.TRACKED_TLS), self._fewer)
        with self._pair() as pair:
            self._initial(pair)
            self._time(deltas.tracked(pair))
            clones.fill(pair)
            self._time(clones.thin(pair), clones.POINTS)
            self._time(clones.full(pair))
            self._time(deltas.untracked(pair, deltas.SCAN, HashBasis.Stored))
            self._time(deltas.untracked(pair, deltas.TWO_SIDED, HashBasis.Read))
        self._peers(deltas.NEEDS, deltas.rsync, deltas.qemu)

    def guest(self) -> None:
        """The guest's writes."""
        for tracked in (False, True):
            with guest.writes(self.world.folder, tracked=tracked) as contest:
                self._time(contest)

    def limits(self) -> None:
        """The bandwidth limit."""
        for rate, share in limits.shares(self.world.folder):
            self.say(f"  limited to {rate / 1e6:g} MB/s: {share * rate / 1e6:.2f} MB/s on the wire")
            error = abs(share - 1) * 100
            self.results.figures[LIMIT] = max(error, self.results.figures.get(LIMIT, 0.0))

    def quiet_relations(self) -> None:
        """Very many relations without anything to send."""
        found = measure_quiet(self.world.folder, self.relations, self.say)
        if found.relations >= RELATIONS:
            self.results.figures |= found.figures()
        self.results.quiet = list(found.lines())
        for line in self.results.quiet:
            self.say(f"  {line}")

    @contextlib.contextmanager
    def _pair(self, *, tls: bool = False) -> Iterator[Agents]:
        with agents(self.world, tls=tls) as pair:
            yield pair
            peak = max(pair.peak_bytes) / 1e6
            self.results.figures[MEMORY] = max(peak, self.results.figures.get(MEMORY, 0.0))

    @property
    def _fewer(self) -> int:
        """For what stands in no goal."""
        return max(1, self.runs // 2)

    def _initial(self, pair: Agents) -> None:
        pair.start_over()
        pair.cycle()

    def _peers(self, needs: dict[str, tuple[str, ...]], *contests: Callable[[World], Opened]) -> None:
        """`needs` in the order of the contests."""
        for (name, programs), contest in zip(needs.items(), contests, strict=True):
            if packages := missing(programs):
                self.results.missing[name] = packages
                self.say(f"  {name:44} is not here: apt-get install {' '.join(packages)}")
                continue
            with contest(self.world) as opened:
                self._time(opened)

    def _time(self, contest: Contest, runs: int | None = None) -> Timing:
        timing = measure(contest, runs or self.runs, self.quiet)
        self.results.timings[contest.name] = timing
        self.say(f"  {timing.name:44} {timing.best:8.3f} {timing.median:8.3f} {timing.worst:8.3f} s")
        return timing

    def _time_cpu(self, pair: Agents, contest: Contest, runs: int) -> None:
        """As `_time`; and the processor time of sender and receiver, per copy."""
        used: list[tuple[float, float]] = []

        def run() -> None:
            before = pair.cpu_seconds
            contest.run()
            after = pair.cpu_seconds
            used.append((after[0] - before[0], after[1] - before[1]))

        self._time(Contest(contest.name, contest.prepare, run, contest.same, contest.fills_memory), runs)
        sender, receiver = self.results.cpu[contest.name] = min(used)
        self.say(f"    of it processor time: sender {sender:.2f} s, receiver {receiver:.2f} s")
