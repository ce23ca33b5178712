"""East and west, the link between them, and one clock: everything that happens is asked for by a test."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache

import structlog

from secondsite.agent.lab.engine import EngineError
from secondsite.wire import arguments
from secondsite.wire.agent import NO_FENCE
from secondsite.wire.base import Message
from secondsite.wire.operations import Verb
from secondsite.wire.problems import Code, Refusal
from secondsite.wire.resources import AssociationWish, StoragePair
from support.lab_world.life import Killed
from support.lab_world.side import Side
from support.lab_world.wire import Network

OWNER = arguments.Owner(vault="vault", control_plane="cluster")
SETTINGS = arguments.Settings(interval_seconds=900, retention_hours=4, rpo_target_seconds=1800)
START = datetime(2026, 3, 2, 12, tzinfo=UTC)
PORTS = {"east": 8084, "west": 8085}
Outcome = Refusal | EngineError | Killed | None
"""None: it was carried out."""


class World:
    """Two agents that are up and associated, both ways."""

    def __init__(self, capabilities: Sequence[str] = (), *, skew: float = 0) -> None:
        self.elapsed = 0.0
        self.pulsed = 0.0
        """Until when the facts are as a reporter's pulse leaves them."""
        self.network = Network()
        self.network.link.pass_time = self.pass_time
        self.east = Side("east", self.network, self.now, capabilities)
        self.west = Side("west", self.network, self.now, capabilities, skew)
        for side in self.sides:
            side.start()
        for side in self.sides:
            self.associate(side)

    @property
    def sides(self) -> tuple[Side, Side]:
        """Both."""
        return self.east, self.west

    @property
    def living(self) -> list[Side]:
        """Those whose agent is up."""
        return [side for side in self.sides if side.up]

    @property
    def source(self) -> Side:
        """The side that is the primary, or was last; east where nobody knows."""
        west = self.west.half if self.west.up else None
        return self.west if west is not None and west.side == "Primary" else self.east

    def other(self, side: Side) -> Side:
        """The peer of a site."""
        return self.west if side is self.east else self.east

    def now(self) -> datetime:
        """Right."""
        return START + timedelta(seconds=self.elapsed)

    def pass_time(self, seconds: float) -> None:
        """Nobody gets a turn meanwhile."""
        self.elapsed += seconds

    def associate(self, side: Side) -> None:
        """Each site takes from, and sends to, the other."""
        for role in ("Target", "Source"):
            side.site.associations.put(association(side.name, role), _wish(side.name, role))

    def perform(self, side: Side, verb: Verb, message: Message | None = None, *, resumed: bool = False) -> Outcome:
        """One verb, as the core gives it to a driver."""
        if side.settling:
            return Refusal(Code.SETTLING, f"The management service of {side.name} restarts")
        command = side.command(verb, message, resumed=resumed)
        side.begun = command
        try:
            side.site.verbs.perform(command)
        except (Refusal, EngineError) as error:
            side.begun = None
            return error
        except Killed as killed:
            return killed
        side.begun = None
        return None

    def settle(self) -> None:
        """Give turns until nothing is due, and have told what changed."""
        for _ in range(8):
            turns = 0
            for side in self.sides:
                if not side.up:
                    continue
                try:
                    turns += side.machinery.manual.run()
                    side.site.reporter.news()
                except Killed:
                    side.kill()
            if not turns:
                return

    def wait(self, seconds: float, most_turns: int = 200) -> None:
        """Time passes, and whatever falls due in it is done at its time."""
        end = self.elapsed + seconds
        for _ in range(most_turns):
            self.settle()
            if self.elapsed >= end:
                break
            pauses = [pause for side in self.living for pause in side.machinery.manual.pauses()]
            self.elapsed = min(end, self.elapsed + max(min(pauses, default=seconds), 1.0))
        self.elapsed = max(self.elapsed, end)
        self.settle()
        self.pulse()

    def pulse(self) -> None:
        """What time alone changes in the facts is published now and then."""
        self.pulsed = self.elapsed
        for side in self.living:
            side.pulse()

    def restart(self, side: Side) -> Outcome:
        """The agent comes back, and takes up what it was told and did not finish."""
        begun = side.begun
        side.start()
        if begun is None or side.settling:
            return None
        return self.perform(side, begun.verb, begun.arguments, resumed=True)


def association(site: str, role: str) -> str:
    """Both sides of a pair of clouds have the same id."""
    target = site if role == "Target" else {"east": "west", "west": "east"}[site]
    return f"to-{target}"


@cache
def _wish(site: str, role: str) -> AssociationWish:
    peer = {"east": "west", "west": "east"}[site]
    target = site if role == "Target" else peer
    return AssociationWish(
        fence=NO_FENCE,
        role=role,
        cloud="Cloud",
        peer_site=peer,
        peer_cloud="Cloud",
        owner=OWNER,
        port=PORTS[target],
        storage=(StoragePair(source="Gold", target="Gold"),),
        hurry=1.0,
        endpoint=arguments.Endpoint(host=f"hv1.{target}", address="127.0.0.1", port=PORTS[target]),
    )


@contextmanager
def quiet() -> Iterator[None]:
    """Thousands of schedules log what they provoke: not here."""
    before = structlog.get_config()
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL), cache_logger_on_first_use=False
    )
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
        structlog.configure(**before)
