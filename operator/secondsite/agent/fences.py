"""Who may command this site: the highest fence it has seen, kept for good."""

from __future__ import annotations

import sqlite3

from secondsite.agent import meta
from secondsite.agent.store import Store
from secondsite.wire.agent import Fence
from secondsite.wire.problems import Code, Refusal

_NAME = "fence"
_TAKE_BY_HAND = (
    "Run the operator in that cluster, or, if the cluster was replaced on purpose and the old one commands no more: "
    "stop the agent, delete the row with name 'fence' from the table meta in agent.db in its data folder "
    "(sqlite3 agent.db \"DELETE FROM meta WHERE name = 'fence'\"), and start the agent again."
)


class Fences:
    """Every call that changes something passes here first. Terms only rise, and each has one holder."""

    def __init__(self, store: Store, highest: Fence | None) -> None:
        self._store = store
        self.highest = highest
        self._stored: Fence | None = None

    async def admit(self, fence: Fence) -> None:
        """Let the bearer command, and remember it before anything is done for it. Raises Refusal."""
        if fence == self.highest == self._stored:
            return
        _check(fence, self.highest)
        # Seen from now on, so that no older one slips in while this one is being written. A write that fails does
        # not take it back: whoever comes with it next writes it again.
        self.highest = fence
        await self._store.run(lambda connection: meta.put(connection, _NAME, fence.to_json().decode()))
        self._stored = fence

    def require(self, fence: Fence) -> None:
        """Raises Refusal for a bearer that was admitted, and overtaken since."""
        _check(fence, self.highest)


def load(connection: sqlite3.Connection) -> Fence | None:
    """The highest fence that the store has."""
    text = meta.get(connection, _NAME)
    return None if text is None else Fence.model_validate_json(text)


def _check(fence: Fence, highest: Fence | None) -> None:
    if highest is None:
        return
    if fence.control_plane != highest.control_plane:
        raise Refusal(
            Code.FOREIGN_CONTROL_PLANE,
            f"This site is commanded by the control plane {highest.control_plane}, not by {fence.control_plane}",
            remedy=_TAKE_BY_HAND,
        )
    if fence.term < highest.term:
        raise Refusal(
            Code.FENCED,
            f"Term {fence.term} is over: this site has been commanded in term {highest.term}",
            highest_term=highest.term,
        )
    if fence.term == highest.term and fence.holder != highest.holder:
        raise Refusal(
            Code.TERM_TAKEN,
            f"Term {fence.term} belongs to {highest.holder}, not to {fence.holder}",
            highest_term=highest.term,
        )
