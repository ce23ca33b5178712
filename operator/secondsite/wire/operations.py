"""Commands: `PUT/GET/DELETE /v1/operations/{key}`. A verb, what it expects to find, and who asks."""

import hashlib
from enum import StrEnum
from typing import Any

from pydantic import Field

from secondsite.wire.agent import Fence
from secondsite.wire.base import Message


class Verb(StrEnum):
    """What a site can be told to do. Most bear the name of the Hyper-V cmdlet that does it."""

    PREPARE_REPLICA = "PrepareReplica"
    CONFIGURE_REPLICA = "ConfigureReplica"
    ENABLE_REPLICATION = "EnableReplication"
    START_INITIAL_REPLICATION = "StartInitialReplication"
    STOP_INITIAL_REPLICATION = "StopInitialReplication"
    EXPORT_INITIAL_REPLICATION = "ExportInitialReplication"
    IMPORT_INITIAL_REPLICATION = "ImportInitialReplication"
    UPDATE_SETTINGS = "UpdateSettings"
    SYNCHRONIZE = "Synchronize"
    SUSPEND = "Suspend"
    RESUME = "Resume"
    RESYNCHRONIZE = "Resynchronize"
    STOP_RESYNCHRONIZE = "StopResynchronize"
    DISABLE_REPLICATION = "DisableReplication"
    REMOVE_REPLICA = "RemoveReplica"
    RESET_STATISTICS = "ResetStatistics"
    REFRESH_INVENTORY = "RefreshInventory"
    START_TEST_FAILOVER = "StartTestFailover"
    CHECK_TEST_VM = "CheckTestVM"
    STOP_TEST_FAILOVER = "StopTestFailover"
    PREPARE_FAILOVER = "PrepareFailover"
    FAILOVER = "Failover"
    CANCEL_FAILOVER = "CancelFailover"
    COMMIT_FAILOVER = "CommitFailover"
    REVERSE_REPLICATION = "ReverseReplication"
    DEMOTE_TO_REPLICA = "DemoteToReplica"
    START_VM = "StartVM"
    STOP_VM = "StopVM"


SITE_VERBS = frozenset({Verb.REFRESH_INVENTORY})
"""Verbs that name no VM."""


class Request(Message):
    """A person's one-shot request that this operation serves: the name of its spec field and its token."""

    name: str
    token: str


class OperationRequest(Message):
    """The body of `PUT /v1/operations/{key}`. Repeating a key returns the first answer; another body is `KeyReused`.

    Not part of that comparison, because a caller that was restarted may repeat a key with others: `fence`, `expects`
    and `deadline_seconds`.
    """

    verb: Verb
    vm_id: str = ""
    intent: str = Field(max_length=256)
    attempt: int = Field(ge=1)
    request: Request | None = None
    expects: tuple[str, ...] = ()
    """States of this site's half in which the verb may start (`Disabled`: no relation); empty: any."""
    epoch: int = Field(default=0, ge=0)
    fence: Fence
    deadline_seconds: int = Field(default=3600, ge=1)
    arguments: dict[str, Any] = Field(default_factory=dict)
    """Of the shape that wire.arguments gives the verb."""


class OperationAnswer(Message):
    """What became of it so far, and the feed position from which its effects can be seen."""

    key: str
    state: str
    instance: str
    revision: int
    percent: int | None = None
    code: str = ""
    message: str = ""
    remedy: str = ""
    result: dict[str, str] = Field(default_factory=dict)


def operation_key(vault: str, vm_id: str, epoch: int, verb: Verb, intent: str, attempt: int) -> str:
    """The name of one attempt at one intent: the same wish always bears the same key, so that repeating is safe."""
    parts = "\n".join([vault, vm_id, str(epoch), verb.value, intent, str(attempt)])
    return hashlib.sha256(parts.encode()).hexdigest()[:40]


def digest(value: Message) -> str:
    """Sixteen hex digits, the same for equal messages whoever sends them: a fence is left out.

    Part of intents, of `Site.settings_digest` and of `Association.digest`.
    """
    text = value.model_dump_json(by_alias=True, exclude_none=True, exclude={"fence"})
    return hashlib.sha256(text.encode()).hexdigest()[:16]
