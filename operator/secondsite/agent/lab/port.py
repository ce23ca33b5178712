"""The messages about relations on the data port of a lab site, and who sends them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from secondsite.agent.lab.engine import PeerRefused, Post
from secondsite.agent.lab.peer import EnableReplica, ReplicaEnabled
from secondsite.trust.names import Name, Role
from secondsite.wire.problems import STATUS, Refusal

Enable = Callable[[str, str, EnableReplica], ReplicaEnabled]
"""Site that asks, VM, message. Raises Refusal."""


def answer_enable(enable: Enable) -> Post:
    """`EnableReplica` as the data port takes it: `enable` carries it out."""

    def post(site: str, vm_id: str, body: bytes) -> ReplicaEnabled:
        try:
            return enable(site, vm_id, msgspec.json.decode(body, type=EnableReplica))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise PeerRefused(400, "InvalidRequest", f"not an EnableReplica: {error}") from error
        except Refusal as error:
            text = f"{error.detail}. {error.remedy}" if error.remedy else error.detail
            raise PeerRefused(STATUS[error.code], error.code.value, text) from error

    return post


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
