"""Who may call what: decided by the certificate's role, and by whether this agent is registered."""

from __future__ import annotations

from aiohttp import web

from secondsite.agent.calls import http
from secondsite.trust.names import Role
from secondsite.wire.problems import Code, Refusal


@web.middleware
async def check_role(request: web.Request, handler: http.Handler) -> web.StreamResponse:
    """Operators may do everything, readers only look, nobody else anything."""
    role = http.peer(request).name.role
    if role not in {Role.OPERATOR, Role.READER} or (role is Role.READER and request.method != "GET"):
        raise Refusal(
            Code.WRONG_ROLE,
            f"{request.method} {request.path} was asked with a certificate of role {role}",
            remedy="Commands take the operator's certificate; a reader's is good for GET only.",
        )
    agent = request.app[http.AGENT]
    if not agent.identity.registered and not _open_before_registration(request.path):
        raise Refusal(Code.NOT_REGISTERED, "This agent has no certificate yet; the operator registers it first")
    return await handler(request)


def _open_before_registration(path: str) -> bool:
    return path == "/v1/agent" or path.startswith("/v1/identity/")
