"""What every call needs: who asks, what was sent, and answers in the contract's form."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias, TypeVar

from aiohttp import web

from secondsite import logs
from secondsite.agent import messages
from secondsite.agent.core import Agent
from secondsite.errors import SecondsiteError
from secondsite.trust.certificates import Peer
from secondsite.trust.handshake import peer_of
from secondsite.wire.agent import Fence
from secondsite.wire.base import Message
from secondsite.wire.problems import CONTENT_TYPE, Code, Problem, Refusal
from secondsite.wire.resources import Done

_log = logs.get(__name__)

AGENT: Final = web.AppKey("agent", Agent)
LARGEST_BODY_BYTES = 1024 * 1024

Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]
M = TypeVar("M", bound=Message)

# Of whatever the operator names: digests, GUIDs, MAC addresses, namespace/name of a test.
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@-]{0,252}")


@web.middleware
async def answer_problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every answer that is not a success is a problem body."""
    try:
        return await handler(request)
    except Refusal as refusal:
        return _problem(refusal.problem())
    except web.HTTPRequestEntityTooLarge:
        what = f"The body is longer than {LARGEST_BODY_BYTES} bytes"
        return _problem(Refusal(Code.TOO_LARGE, what).problem())
    except web.HTTPMethodNotAllowed as error:
        what = f"{request.path} does not know {request.method}"
        refused = Refusal(Code.INVALID_REQUEST, what).problem().model_copy(update={"status": error.status})
        return _problem(refused, {"Allow": ", ".join(sorted(error.allowed_methods))})
    except web.HTTPNotFound:
        remedy = "Operator and agent may be of versions that do not fit."
        return _problem(Refusal(Code.NOT_FOUND, f"There is no call {request.path}", remedy=remedy).problem())
    except (sqlite3.Error, SecondsiteError) as error:
        return _problem(_not_stored(error).problem())
    except Exception as error:  # noqa: BLE001 - a defect must not cost the caller its answer
        _log.exception("a call failed unexpectedly", method=request.method, path=request.path)
        what = (
            f"{request.method} {request.path} failed unexpectedly ({type(error).__name__}); the agent's log says more"
        )
        return _problem(Refusal(Code.INTERNAL, what).problem())


def peer(request: web.Request) -> Peer:
    """Who asks. Raises SecondsiteError on a connection that our contexts did not make."""
    transport = request.transport
    return peer_of(transport.get_extra_info("ssl_object") if transport else None)


async def read(request: web.Request, kind: type[M]) -> M:
    """The body. Raises Refusal (InvalidRequest) that names the field."""
    return messages.parse(kind, await request.read())


def fence_of(request: web.Request) -> Fence:
    """The fence of a call without a body. Raises Refusal (InvalidRequest)."""
    term = request.query.get("term", "")
    if not term.isascii() or not term.isdecimal():
        raise messages.invalid("term", "a DELETE carries the fence as ?controlPlane=…&term=…&holder=…")
    return messages.convert(Fence, {**request.query, "term": int(term)})


def path_id(request: web.Request, name: str) -> str:
    """An identifier in the path. Raises Refusal (InvalidRequest)."""
    value = request.match_info[name]
    if not _ID.fullmatch(value):
        raise messages.invalid(name, "takes up to 253 letters, digits and . _ : / @ -, a letter or digit first")
    return value


def reply(message: Message) -> web.Response:
    return web.Response(body=message.to_json(), content_type="application/json")


def reply_json(body: bytes) -> web.Response:
    return web.Response(body=body, content_type="application/json")


def done(agent: Agent) -> web.Response:
    """Where the effect of what was just changed can be seen."""
    return reply(Done(revision=agent.feed.revision, instance=agent.feed.instance))


def _not_stored(error: Exception) -> Refusal:
    if isinstance(error, sqlite3.OperationalError) and "full" in str(error):
        remedy = "Make room in the agent's data folder."
        return Refusal(Code.STORAGE_EXHAUSTED, f"Nothing was begun: {error}", remedy=remedy)
    _log.error("a call could not be served", error=str(error))
    return Refusal(Code.INTERNAL, f"Nothing was begun: {error}")


def _problem(problem: Problem, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(body=problem.to_json(), status=problem.status, content_type=CONTENT_TYPE, headers=headers)
