"""The data port of a lab site: the engine's server, and the one message about a relation that goes with it."""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable, Mapping

import msgspec

from secondsite.agent.lab.engine import DataServer, PeerRefused, TargetStore
from secondsite.agent.lab.engine.channel import Channel, Headers
from secondsite.agent.lab.engine.routes import Authorize, Routes
from secondsite.agent.lab.peer import RELATIONS, EnableReplica, ReplicaEnabled
from secondsite.trust.names import Name, Role
from secondsite.wire.peer import ID_PATTERN, MAX_MESSAGE_BYTES, Message
from secondsite.wire.problems import STATUS, Refusal

Enable = Callable[[str, str, EnableReplica], ReplicaEnabled]
"""Site that asks, VM, message. Raises Refusal."""

_ENABLE = re.compile(f"POST {RELATIONS}({ID_PATTERN}) HTTP/1.1")


class DataPort(DataServer):
    """Takes replication data, and `EnableReplica`. `authorize` is asked for both, `enable` carries the second out."""

    def __init__(
        self,
        address: str,
        port: int,
        tls: ssl.SSLContext,
        stores: Callable[[str], TargetStore | None],
        authorize: Authorize,
        enable: Enable,
    ) -> None:
        super().__init__(address, port, tls, stores, authorize)
        self._routes = _RelationRoutes(stores, authorize, enable)


class _RelationRoutes(Routes):
    def __init__(self, stores: Callable[[str], TargetStore | None], authorize: Authorize, enable: Enable) -> None:
        super().__init__(stores, authorize)
        self._ask = authorize
        self._enable = enable

    def _handle(self, channel: Channel, start: str, headers: Headers) -> tuple[int, Message]:
        found = _ENABLE.fullmatch(start)
        if found is None:
            return super()._handle(channel, start, headers)
        vm_id = found[1]
        site = self._ask(channel.peer_certificate, vm_id, f"{RELATIONS}{vm_id}")
        body = channel.read_body(headers, MAX_MESSAGE_BYTES)
        try:
            return 200, self._enable(site, vm_id, msgspec.json.decode(body, type=EnableReplica))
        except msgspec.DecodeError as error:
            raise PeerRefused(400, "InvalidRequest", f"not an EnableReplica: {error}") from error
        except Refusal as error:
            text = f"{error.detail}. {error.remedy}" if error.remedy else error.detail
            raise PeerRefused(STATUS[error.code], error.code.value, text) from error


def site_of(certificate: Mapping[str, object] | None) -> str:
    """The site that a peer's certificate names. Raises PeerRefused for anything but an agent's."""
    names = (certificate or {}).get("subjectAltName", ())
    uris = [value for kind, value in names if kind == "URI"] if isinstance(names, tuple) else []
    try:
        name = Name.parse(uris[0]) if len(uris) == 1 else None
    except ValueError:
        name = None
    if name is None or name.role is not Role.AGENT:
        raise PeerRefused(403, "WrongRole", f"the data port takes agents of the vault only, not {uris or 'a stranger'}")
    return name.site
