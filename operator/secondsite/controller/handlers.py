"""The only handlers of kopf: how to log in, and one per kind that passes every event of the watch on."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import kopf

from secondsite.api.kind import GROUP, VERSION, Kind
from secondsite.controller.login import Login

Feed = Callable[[Kind[Any, Any], str | None, Mapping[str, Any]], None]

# A pod's token is renewed in place; kopf keeps what it was given until it is told to forget it.
_TOKEN_LIFE = timedelta(minutes=5)


def registry(kinds: Iterable[Kind[Any, Any]], login: Login, feed: Feed) -> kopf.OperatorRegistry:
    """All handlers. The events' bodies are the API server's own; `feed` must not change them."""
    made = kopf.OperatorRegistry()
    _log_in(made, login)
    for kind in kinds:
        _watch(made, kind, feed)
    return made


def _log_in(made: kopf.OperatorRegistry, login: Login) -> None:
    @kopf.on.login(registry=made)
    async def log_in(**_: Any) -> kopf.ConnectionInfo:
        return kopf.ConnectionInfo(
            server=login.server,
            ca_data=_encoded(login.ca),
            insecure=login.insecure,
            token=login.bearer() or None,
            certificate_data=_encoded(login.certificate),
            private_key_data=_encoded(login.key),
            expiration=datetime.now(UTC) + _TOKEN_LIFE if login.token_file else None,
        )


def _watch(made: kopf.OperatorRegistry, kind: Kind[Any, Any], feed: Feed) -> None:
    @kopf.on.event(GROUP, VERSION, kind.plural, registry=made, id=f"feed-{kind.singular}")
    async def on_event(event: Mapping[str, Any], **_: Any) -> None:
        feed(kind, event["type"], event["object"])


def _encoded(data: bytes) -> str | None:
    return base64.b64encode(data).decode() if data else None
