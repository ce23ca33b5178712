"""Checks of a test VM, answered from the bytes of its disk: a guest that was not replicated whole answers nothing."""

from __future__ import annotations

from dataclasses import dataclass

from secondsite.agent.lab.truth import Evidence
from secondsite.wire.arguments import CheckTestVM

_DEFAULT_PORTS = {"HTTP": 80, "HTTPS": 443}


@dataclass(frozen=True)
class Answer:
    """Whether the check passed, and what came back."""

    passed: bool
    message: str


def probe(check: CheckTestVM, evidence: Evidence, *, connected: bool) -> Answer:
    """Answer one check. `connected`: the test VM has a network; a heartbeat goes without (integration services)."""
    if evidence.faults:
        return Answer(False, f"the guest does not start: {'; '.join(evidence.faults)}")
    if check.type == "Heartbeat":
        return Answer(True, f"heartbeat of a guest with {evidence.sequence} writes, journal {evidence.journal}")
    if not connected:
        return Answer(False, "the test VM is not connected to a network")
    if check.type == "Ping":
        return Answer(True, "the guest answers")
    return _tcp(check, evidence) if check.type == "TCP" else _http(check, evidence)


def _tcp(check: CheckTestVM, evidence: Evidence) -> Answer:
    if check.port is None:
        return Answer(False, "a TCP check needs a port")
    if not _listeners(evidence, check.port):
        return Answer(False, f"connection to port {check.port} refused")
    return Answer(True, f"port {check.port} is open")


def _http(check: CheckTestVM, evidence: Evidence) -> Answer:
    port = check.port or _DEFAULT_PORTS[check.scheme]
    services = _listeners(evidence, port)
    if not services:
        return Answer(False, f"connection to port {port} refused")
    if check.scheme == "HTTPS":
        return Answer(False, f"port {port} does not speak TLS")
    found = next((service for service in services if service.get("path") == check.path), None)
    status = found.get("status") if found else 404
    if status != check.expected_status:
        return Answer(False, f"GET {check.path} at port {port}: status {status}, expected {check.expected_status}")
    if check.body_contains not in str(found.get("body", "") if found else ""):
        return Answer(False, f"GET {check.path} at port {port}: status {status}, without {check.body_contains!r}")
    return Answer(True, f"GET {check.path} at port {port}: status {status}")


def _listeners(evidence: Evidence, port: int) -> list[dict[str, object]]:
    return [service for service in evidence.services if service.get("port") == port]
