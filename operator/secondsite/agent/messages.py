"""Reading what callers send: strictly, and naming the field that is wrong."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from secondsite.wire.arguments import ARGUMENTS
from secondsite.wire.base import Message
from secondsite.wire.operations import SITE_VERBS, OperationRequest
from secondsite.wire.problems import Code, Refusal

M = TypeVar("M", bound=Message)


def parse(kind: type[M], body: bytes | str, within: str = "") -> M:
    """A message from JSON. Raises Refusal (InvalidRequest) that names the field; `within` is put before its name."""
    try:
        return kind.model_validate_json(body, strict=True)
    except ValidationError as error:
        raise _invalid(error, within) from None


def convert(kind: type[M], values: Mapping[str, Any]) -> M:
    """A message from values by their wire names. Raises Refusal (InvalidRequest) that names the field."""
    try:
        return kind.model_validate(dict(values), strict=True)
    except ValidationError as error:
        raise _invalid(error) from None


def operation(body: bytes) -> OperationRequest:
    """An operation whose arguments fit its verb. Raises Refusal (InvalidRequest)."""
    request = parse(OperationRequest, body)
    if (request.verb in SITE_VERBS) == bool(request.vm_id):
        wanted = "must be absent" if request.vm_id else "is required"
        raise invalid("vmID", f"{wanted} for {request.verb}")
    arguments(request)
    return request


def arguments(request: OperationRequest) -> Message:
    """The arguments in the shape that the verb gives them. Raises Refusal (InvalidRequest)."""
    return parse(ARGUMENTS[request.verb], json.dumps(request.arguments), "arguments")


def invalid(field: str, what: str) -> Refusal:
    return Refusal(
        Code.INVALID_REQUEST,
        f"{field}: {what}",
        remedy="Operator and agent may be of versions that do not fit: compare `secondsite version` on both.",
    )


def _invalid(error: ValidationError, within: str = "") -> Refusal:
    first = error.errors(include_url=False, include_input=False)[0]
    field = ".".join(str(part) for part in (within, *first["loc"]) if part != "")
    return invalid(field or "the body", first["msg"])
