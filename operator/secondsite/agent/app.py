"""The routes of the agent contract (design of the calls: `secondsite.wire`)."""

from __future__ import annotations

from aiohttp import web

from secondsite.agent.calls import http, identity, operations, resources, roles, site
from secondsite.agent.core import Agent

_ROUTES = [
    web.get("/v1/agent", site.get_agent, allow_head=False),
    web.get("/v1/checks", site.get_checks, allow_head=False),
    web.get("/v1/changes", site.get_changes, allow_head=False),
    web.get("/v1/vms/{vmID}", site.get_vm, allow_head=False),
    web.put("/v1/settings", site.put_settings),
    web.put("/v1/operations/{key}", operations.put_operation),
    web.get("/v1/operations/{key}", operations.get_operation, allow_head=False),
    web.delete("/v1/operations/{key}", operations.delete_operation),
    web.put("/v1/associations/{id}", resources.put_association),
    web.get("/v1/associations/{id}", resources.get_association, allow_head=False),
    web.delete("/v1/associations/{id}", resources.delete_association),
    web.put("/v1/reservations/{vmID}/{adapter}", resources.put_reservation),
    web.get("/v1/reservations/{vmID}/{adapter}", resources.get_reservation, allow_head=False),
    web.delete("/v1/reservations/{vmID}/{adapter}", resources.delete_reservation),
    web.put("/v1/testnetworks/{id}", resources.put_test_network),
    web.get("/v1/testnetworks/{id}", resources.get_test_network, allow_head=False),
    web.delete("/v1/testnetworks/{id}", resources.delete_test_network),
    web.put("/v1/tombstones/{id}", resources.put_tombstone),
    web.get("/v1/tombstones/{id}", resources.get_tombstone, allow_head=False),
    web.delete("/v1/tombstones/{id}", resources.delete_tombstone),
    web.put("/v1/identity/request", identity.put_request),
    web.put("/v1/identity/certificate", identity.put_certificate),
    web.put("/v1/identity/trust", identity.put_trust),
]


def build(agent: Agent) -> web.Application:
    """The application that serves one agent."""
    app = web.Application(
        middlewares=[http.answer_problems, roles.check_role],
        client_max_size=http.LARGEST_BODY_BYTES,
    )
    app[http.AGENT] = agent
    app.add_routes(_ROUTES)
    return app
