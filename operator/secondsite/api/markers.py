"""What stands in `Annotated[...]` beside a type of the API: CEL rules, list types, bounds of status fields."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

RULES = "x-kubernetes-validations"
LIST_TYPE = "x-kubernetes-list-type"
LIST_MAP_KEYS = "x-kubernetes-list-map-keys"
# Never reaches a CRD: tells the generator that a default is the operator's, not the API server's.
LATE_DEFAULT = "x-secondsite-late-default"


@dataclass(frozen=True)
class Rule:
    """One CEL rule that the API server evaluates on the node on which it stands.

    `expression` is CEL that yields the message, for messages that name the offending value; `message` is what the API
    server falls back to. `path` is the field to blame, below the node. `reason` is FieldValueInvalid when unset.
    """

    rule: str
    message: str
    expression: str | None = None
    reason: str | None = None
    path: str | None = None

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return with_rules(handler(core), (self,))

    def manifest(self) -> dict[str, str]:
        """The rule as an entry of `x-kubernetes-validations`."""
        entry = {
            "rule": self.rule,
            "message": self.message,
            "messageExpression": self.expression,
            "reason": self.reason,
            "fieldPath": self.path,
        }
        return {key: value for key, value in entry.items() if value is not None}


def say(text: str, *values: str) -> str:
    """CEL that yields `text` with the values of CEL expressions in the places of its `%s` and `%d`."""
    return f"{json.dumps(text)}.format([{', '.join(values)}])"


def with_rules(schema: JsonSchemaValue, rules: Iterable[Rule]) -> JsonSchemaValue:
    """A copy of `schema` with rules added behind those it has."""
    return {**schema, RULES: [*schema.get(RULES, ()), *(rule.manifest() for rule in rules)]}


@dataclass(frozen=True)
class ListType:
    """How server-side apply merges a list: `set` (unique scalars, no order) or `atomic`."""

    kind: str

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {**handler(core), LIST_TYPE: self.kind}


@dataclass(frozen=True, init=False)
class ListMap:
    """A list whose items are unique by, and merged by, these JSON names."""

    keys: tuple[str, ...]

    def __init__(self, *keys: str) -> None:
        object.__setattr__(self, "keys", keys)

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {**handler(core), LIST_TYPE: "map", LIST_MAP_KEYS: list(self.keys)}


@dataclass(frozen=True)
class LateDefault:
    """A default that the operator applies and the CRD does not contain.

    For a field that only one arm of a union has: the API server would write the default into every arm, where a rule
    then refuses it.
    """

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {**handler(core), LATE_DEFAULT: True}


@dataclass(frozen=True)
class AtMost:
    """The bound of a text or list in a status: what exceeds it is cut off when the status is made.

    A status with one overlong message would be refused by the API server as a whole.
    """

    bound: int

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self.cut, handler(source))

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        schema = handler(core)
        return {**schema, "maxItems" if schema.get("type") == "array" else "maxLength": self.bound}

    def cut(self, value: Any) -> Any:
        """`value`, shortened to the bound; a text ends in an ellipsis then."""
        if isinstance(value, str) and len(value) > self.bound:
            return value[: self.bound - 1] + "…"
        return value[: self.bound] if isinstance(value, list | tuple) else value
