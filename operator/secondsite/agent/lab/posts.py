"""Messages that a peer posts beside replication: read alike, refused alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import msgspec

from secondsite.agent.lab.engine import PeerRefused, Post
from secondsite.wire.peer import Message
from secondsite.wire.problems import STATUS, Code, Refusal

M = TypeVar("M", bound=Message)


def refused(code: Code, detail: str) -> PeerRefused:
    """What the peer is told, with a code of the agent contract."""
    return PeerRefused(STATUS[code], code.value, detail)


def answering(kind: type[M], answer: Callable[[str, str, M], Message]) -> Post:
    """Messages of a kind as the data port takes them.

    `answer` carries one out: site that asks, VM, message. It raises Refusal.
    """

    def post(site: str, vm_id: str, body: bytes) -> Message:
        try:
            return answer(site, vm_id, msgspec.json.decode(body, type=kind))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise refused(Code.INVALID_REQUEST, f"not a message {kind.__name__}: {error}") from error
        except Refusal as error:
            text = f"{error.detail}. {error.remedy}" if error.remedy else error.detail
            raise refused(error.code, text) from error

    return post
