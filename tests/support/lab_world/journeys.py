"""Ways that people go: verbs in an order that makes sense, which a story may leave at any step."""

from __future__ import annotations

from typing import Literal

from secondsite.wire.arguments import Failover
from secondsite.wire.base import Message
from secondsite.wire.operations import Verb

Step = tuple[Literal["source", "target"], Verb, Message | None]
"""Which side, as it was at the beginning; None: the usual arguments."""

JOURNEYS: dict[str, tuple[Step, ...]] = {
    "a planned failover and the way back": (
        ("source", Verb.STOP_VM, None),
        ("source", Verb.PREPARE_FAILOVER, None),
        ("target", Verb.FAILOVER, Failover(planned=True)),
        ("target", Verb.START_VM, None),
        ("target", Verb.COMMIT_FAILOVER, None),
        ("target", Verb.REVERSE_REPLICATION, None),
    ),
    "an unplanned failover and the way back": (
        ("target", Verb.FAILOVER, None),
        ("target", Verb.START_VM, None),
        ("target", Verb.COMMIT_FAILOVER, None),
        ("source", Verb.STOP_VM, None),
        ("source", Verb.DEMOTE_TO_REPLICA, None),
        ("target", Verb.REVERSE_REPLICATION, None),
        ("target", Verb.START_INITIAL_REPLICATION, None),
    ),
    "a failover that is called off": (
        ("target", Verb.FAILOVER, None),
        ("target", Verb.START_VM, None),
        ("target", Verb.CANCEL_FAILOVER, None),
    ),
    "a suspension of the source": (("source", Verb.SUSPEND, None), ("source", Verb.RESUME, None)),
    "a suspension of the target": (("target", Verb.SUSPEND, None), ("target", Verb.RESUME, None)),
    "a forced resynchronization": (
        ("source", Verb.SUSPEND, None),
        ("source", Verb.RESYNCHRONIZE, None),
        ("source", Verb.STOP_RESYNCHRONIZE, None),
        ("source", Verb.RESYNCHRONIZE, None),
    ),
    "a rehearsal, and another": (
        ("target", Verb.START_TEST_FAILOVER, None),
        ("target", Verb.START_TEST_FAILOVER, None),
        ("target", Verb.STOP_TEST_FAILOVER, None),
    ),
    "the end, and a new beginning": (
        ("source", Verb.DISABLE_REPLICATION, None),
        ("target", Verb.DISABLE_REPLICATION, None),
        ("target", Verb.PREPARE_REPLICA, None),
        ("source", Verb.ENABLE_REPLICATION, None),
        ("source", Verb.START_INITIAL_REPLICATION, None),
    ),
    "media": (
        ("source", Verb.DISABLE_REPLICATION, None),
        ("target", Verb.DISABLE_REPLICATION, None),
        ("target", Verb.PREPARE_REPLICA, None),
        ("source", Verb.ENABLE_REPLICATION, None),
        ("source", Verb.EXPORT_INITIAL_REPLICATION, None),
        ("target", Verb.IMPORT_INITIAL_REPLICATION, None),
    ),
    "a prepared VM that people want to start": (
        ("source", Verb.STOP_VM, None),
        ("source", Verb.PREPARE_FAILOVER, None),
        ("source", Verb.START_VM, None),
        ("source", Verb.CANCEL_FAILOVER, None),
    ),
    "a demotion in haste": (
        ("target", Verb.FAILOVER, None),
        ("target", Verb.COMMIT_FAILOVER, None),
        ("source", Verb.DEMOTE_TO_REPLICA, None),
    ),
    "a failover without preparation": (
        ("source", Verb.PREPARE_FAILOVER, None),
        ("target", Verb.FAILOVER, Failover(planned=True)),
        ("source", Verb.DEMOTE_TO_REPLICA, None),
    ),
}
