"""Certificates: the agent's own, and whom it trusts."""

from __future__ import annotations

from aiohttp import web

from secondsite import logs
from secondsite.agent.calls import http
from secondsite.agent.core import Agent
from secondsite.errors import SecondsiteError
from secondsite.trust.handshake import peer_of
from secondsite.wire.identity import CertificateInstall, IdentityAnswer, IdentityRequest, TrustUpdate

_log = logs.get(__name__)


async def put_request(request: web.Request) -> web.Response:
    agent, asked = request.app[http.AGENT], await http.read(request, IdentityRequest)
    return http.reply(IdentityAnswer(certificate_request=agent.identity.request(asked)))


async def put_certificate(request: web.Request) -> web.Response:
    agent, offered = request.app[http.AGENT], await http.read(request, CertificateInstall)
    newcomer = not agent.identity.registered
    agent.identity.install(offered)
    agent.tls.refresh()
    _log.info("certificate installed", site=agent.identity.site, fingerprint=agent.identity.key_fingerprint)
    if newcomer:
        agent.start_driver()
    return http.done(agent)


async def put_trust(request: web.Request) -> web.Response:
    agent, update = request.app[http.AGENT], await http.read(request, TrustUpdate)
    agent.identity.update_trust(update)
    agent.tls.refresh()
    _part_with_revoked(agent, request)
    return http.done(agent)


def _part_with_revoked(agent: Agent, request: web.Request) -> None:
    """A handshake is made once; who is revoked during a connection must not keep it."""
    revoked = agent.identity.trust.revoked
    for connection in agent.connections():
        transport = connection.transport
        if transport is None or transport is request.transport:
            continue
        try:
            peer = peer_of(transport.get_extra_info("ssl_object"))
        except SecondsiteError:
            continue
        if peer.serial in revoked:
            _log.warning("connection of a revoked certificate ended", peer=str(peer.name))
            transport.abort()
