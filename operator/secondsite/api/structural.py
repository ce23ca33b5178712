"""pydantic's JSON schema, made structural.

An API server takes a subset of JSON Schema and drops some of what it does not know with a warning at most. So what is
not known to work is refused here, with its path: keywords outside a list, strings, integers and lists without bounds,
fields without a description.
"""

from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from secondsite.api.base import Model
from secondsite.api.markers import LATE_DEFAULT, LIST_MAP_KEYS, LIST_TYPE, RULES

KEYWORDS = {
    *("type", "properties", "required", "items", "enum", "default", "description", "format", "pattern"),
    *("minLength", "maxLength", "minimum", "maximum", "minItems", "maxItems", RULES, LIST_TYPE, LIST_MAP_KEYS),
}


class SchemaError(ValueError):
    """A type of the API has no place in a CRD; the message has the path of the field and what is wrong with it."""


class StructuralSchema(GenerateJsonSchema):
    """pydantic's generator, without what an API server refuses or misreads."""

    def field_title_should_be_set(self, _schema: Any) -> bool:
        return False

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        """An optional field is left out, never null."""
        return self.generate_inner(schema["schema"])

    def literal_schema(self, schema: core_schema.LiteralSchema) -> JsonSchemaValue:
        """`const`, which one word alone becomes, would be dropped by the server."""
        generated = super().literal_schema(schema)
        if "const" in generated:
            generated["enum"] = [generated.pop("const")]
        return generated

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        generated = self.generate_inner(schema["schema"])
        late = generated.pop(LATE_DEFAULT, False)
        default = _default(schema)
        return generated if late or default in (None, {}, ()) else {**generated, "default": default}

    def sort(self, value: JsonSchemaValue, _parent_key: str | None = None) -> JsonSchemaValue:
        """Fields stay in the order in which they are declared."""
        return value


def _default(schema: core_schema.WithDefaultSchema) -> Any:
    """The default as JSON. An object is written whole: rules run on it before its own fields are defaulted."""
    default = schema.get("default")
    return without_empty(default.manifest()) if isinstance(default, Model) else default


def without_empty(data: dict[str, Any]) -> dict[str, Any]:
    """`data` without empty objects and lists, as a person would write it."""
    full = {key: without_empty(value) if isinstance(value, dict) else value for key, value in data.items()}
    return {key: value for key, value in full.items() if value not in ({}, [])}


def structural(model: type[Model]) -> JsonSchemaValue:
    """The schema of a model, references inlined and checked."""
    schema = model.model_json_schema(schema_generator=StructuralSchema)
    definitions = schema.pop("$defs", {})
    inlined: JsonSchemaValue = _inline(schema, definitions)
    check(inlined, model.__name__)
    return inlined


def _inline(node: Any, definitions: JsonSchemaValue) -> Any:
    """Put definitions in the place of references; what stands beside a reference wins, rules add up."""
    if isinstance(node, list):
        return [_inline(item, definitions) for item in node]
    if not isinstance(node, dict):
        return node
    beside = {key: _inline(value, definitions) for key, value in node.items() if key != "$ref"}
    beside.pop("title", None)
    if "description" in beside and isinstance(beside["description"], str):
        beside["description"] = " ".join(beside["description"].split())
    if "$ref" not in node:
        return beside
    target = _inline(definitions[node["$ref"].rpartition("/")[2]], definitions)
    rules = [*target.get(RULES, ()), *beside.get(RULES, ())]
    return {**target, **beside, **({RULES: rules} if rules else {})}


def check(node: JsonSchemaValue, path: str) -> None:
    """Raise SchemaError for what an API server would refuse, drop or let grow without bound."""
    if unknown := node.keys() - KEYWORDS:
        raise SchemaError(f"{path}: {', '.join(sorted(unknown))} has no place in a structural schema")
    _check_bounds(node, path)
    for name, field in node.get("properties", {}).items():
        if not field.get("description"):
            raise SchemaError(f"{path}.{name}: has no description")
        check(field, f"{path}.{name}")
    if "items" in node:
        check(node["items"], f"{path}[]")


def _check_bounds(node: JsonSchemaValue, path: str) -> None:
    match node.get("type"):
        case "string":
            bounded = "maxLength" in node or "enum" in node or node.get("format") == "date-time"
        case "integer":
            bounded = "enum" in node or ("minimum" in node and "maximum" in node)
        case "array":
            bounded = "maxItems" in node and "items" in node
        case "object" | "boolean":
            bounded = True
        case other:
            raise SchemaError(f"{path}: its type is {other!r}; a field has exactly one type")
    if not bounded:
        raise SchemaError(f"{path}: has no bound")
