"""What the verbs of a lab site are and return, and settings as relations report them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from secondsite.agent.driver import Command
from secondsite.wire import arguments
from secondsite.wire.facts import Replication
from secondsite.wire.operations import Verb

Result = dict[str, str]
"""What an operation says at its end beside its state."""
Handler = Callable[[Command], Result]
Handlers = Mapping[Verb, Handler]


def replication(settings: arguments.Settings) -> Replication:
    """Settings as the relation reports them."""
    return Replication(**settings.model_dump())
