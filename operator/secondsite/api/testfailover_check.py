"""A check of a TestFailover: what must answer in a test VM."""

from typing import Annotated, Literal

from pydantic import Field

from secondsite.api.base import Model
from secondsite.api.markers import LateDefault, Rule
from secondsite.api.scalars import ObjectName, Port

CheckType = Literal["Heartbeat", "Ping", "TCP", "HTTP"]


def _http_only(field: str) -> Rule:
    return Rule(
        f"self.type == 'HTTP' || !has(self.{field})",
        "may only be set when `type` is 'HTTP'",
        reason="FieldValueForbidden",
        path=f".{field}",
    )


class Check(
    Model,
    rules=(
        Rule(
            "self.type != 'TCP' || has(self.port)",
            "must be set when `type` is 'TCP'",
            reason="FieldValueRequired",
            path=".port",
        ),
        Rule(
            "self.type in ['TCP', 'HTTP'] || !has(self.port)",
            "may only be set when `type` is 'TCP' or 'HTTP'",
            reason="FieldValueForbidden",
            path=".port",
        ),
        *(_http_only(field) for field in ("scheme", "host", "path", "expectedStatus", "bodyContains")),
    ),
):
    """One check; it is repeated until it passes or its time is over."""

    name: ObjectName
    """Name of the check, unique in the test, at most 50 characters. Required. Immutable."""
    type: CheckType
    """Heartbeat: the guest's integration services answer; Ping: ICMP; TCP: a connection; HTTP: a response. Required.
    Immutable."""
    vm: ObjectName | None = None
    """Name of the ProtectedVM whose test VM is checked. Unset by default: every VM of the test. Immutable."""
    port: Port | None = None
    """Port, 1-65535. Required with TCP; with HTTP by default 80, or 443 for HTTPS; else forbidden. Immutable."""
    scheme: Annotated[Literal["HTTP", "HTTPS"], LateDefault()] = "HTTP"
    """HTTP or HTTPS (whose certificate is not verified). Default HTTP. Only with HTTP. Immutable."""
    host: Annotated[str, Field(min_length=1, max_length=253)] | None = None
    """Host header, 1-253 characters. Unset by default: the address of the VM. Only with HTTP. Immutable."""
    path: Annotated[
        str,
        Field(min_length=1, max_length=1024),
        Rule("self.startsWith('/')", "must start with '/'"),
        LateDefault(),
    ] = "/"
    """Path and query that are asked for, 1-1024 characters. Default '/'. Only with HTTP. Immutable."""
    expected_status: Annotated[int, Field(ge=100, le=599), LateDefault()] = 200
    """Status that the response must have. 100-599, default 200. Only with HTTP. Immutable."""
    body_contains: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    """Text that the first 64 KiB of the body must contain, 1-256 characters. Unset by default. Only with HTTP.
    Immutable."""
    period_seconds: Annotated[int, Field(ge=1, le=300)] = 5
    """Seconds between attempts. 1-300, default 5. Immutable."""
    timeout_seconds: Annotated[int, Field(ge=1, le=3600)] = 300
    """Seconds after which the check has failed, counted from the start of the test VM. 1-3600, default 300.
    Immutable."""
