"""Who sends to the data port of a lab site."""

from __future__ import annotations

from collections.abc import Mapping

from secondsite.agent.lab.posts import refused
from secondsite.trust.names import Name, Role
from secondsite.wire.problems import Code


def site_of(certificate: Mapping[str, object] | None) -> str:
    """The site that a peer's certificate names. Raises PeerRefused for anything but an agent's."""
    names = (certificate or {}).get("subjectAltName", ())
    uris = [value for kind, value in names if kind == "URI"] if isinstance(names, tuple) else []
    try:
        name = Name.parse(uris[0]) if len(uris) == 1 else None
    except ValueError:
        name = None
    if name is None or name.role is not Role.AGENT:
        raise refused(Code.WRONG_ROLE, f"the data port takes agents of the vault only, not {uris or 'a stranger'}")
    return name.site
