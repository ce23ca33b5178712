"""How types become a structural schema, and what is refused on the way."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

from secondsite.api.base import Model
from secondsite.api.markers import LIST_MAP_KEYS, LIST_TYPE, RULES, AtMost, LateDefault, ListMap, ListType, Rule
from secondsite.api.scalars import LocalRef, Time
from secondsite.api.structural import SchemaError, structural

Bounded = Annotated[str, Field(max_length=8)]


class Colour(StrEnum):
    RED = "Red"
    BLUE = "Blue"


class Leaf(Model, rules=(Rule("self.one != 'x'", "must not be x"),)):
    """A leaf."""

    one: Bounded = "a"
    """The one field."""
    two: Bounded | None = None
    """Another field."""


class Tree(Model):
    """A tree."""

    word: Literal["Only"]
    """One word."""
    number: Literal[30, 300]
    """One of two numbers."""
    colour: Colour | None = None
    """A colour."""
    leaf: Leaf = Leaf()
    """A leaf that is always
    there."""
    bare: Leaf | None = None
    """A leaf that may be there."""
    ruled: Annotated[Leaf, Rule("self == oldSelf", "immutable")] | None = None
    """A leaf with a rule of its own."""
    names: Annotated[tuple[Bounded, ...], Field(max_length=3), ListType("set")] = ()
    """Names."""
    leaves: Annotated[tuple[Leaf, ...], AtMost(2), ListMap("one")] = ()
    """Leaves."""
    text: Annotated[str, AtMost(5)] = ""
    """A text."""
    moment: Time | None = None
    """A moment."""
    late: Annotated[int, Field(ge=1, le=9), LateDefault()] = 7
    """A number."""
    early: Annotated[int, Field(ge=1, le=9)] = 7
    """A number."""
    switch: bool = False
    """A switch."""


@pytest.fixture(scope="module")
def fields() -> dict[str, Any]:
    schema: dict[str, Any] = structural(Tree)["properties"]
    return schema


def test_fields_keep_their_order_and_only_what_has_no_default_is_required() -> None:
    schema = structural(Tree)
    assert list(schema["properties"]) == list(Tree.model_fields)
    assert schema["required"] == ["word", "number"]


def test_a_single_word_is_an_enum_and_not_a_const(fields: dict[str, Any]) -> None:
    assert fields["word"] == {"type": "string", "enum": ["Only"], "description": "One word."}
    assert fields["number"]["enum"] == [30, 300]
    assert fields["number"]["type"] == "integer"
    assert fields["colour"]["enum"] == ["Red", "Blue"]


def test_the_description_of_the_field_wins_in_one_line(fields: dict[str, Any]) -> None:
    assert fields["colour"]["description"] == "A colour."
    assert fields["leaf"]["description"] == "A leaf that is always there."


def test_an_optional_field_has_neither_null_nor_default(fields: dict[str, Any]) -> None:
    assert fields["bare"]["type"] == "object"
    assert "default" not in fields["bare"]
    assert "default" not in fields["names"]


def test_an_object_is_defaulted_whole_because_rules_run_before_its_fields_are(fields: dict[str, Any]) -> None:
    assert fields["leaf"]["default"] == {"one": "a"}
    assert fields["leaf"]["properties"]["one"]["default"] == "a"


def test_rules_of_type_and_field_add_up_and_stay_where_they_are(fields: dict[str, Any]) -> None:
    assert [rule["rule"] for rule in fields["ruled"][RULES]] == ["self.one != 'x'", "self == oldSelf"]
    assert [rule["rule"] for rule in fields["bare"][RULES]] == ["self.one != 'x'"]


def test_lists_say_how_they_merge(fields: dict[str, Any]) -> None:
    assert fields["names"][LIST_TYPE] == "set"
    assert (fields["leaves"][LIST_TYPE], fields["leaves"][LIST_MAP_KEYS]) == ("map", ["one"])


def test_bounds_of_a_status_are_bounds_of_the_schema(fields: dict[str, Any]) -> None:
    assert fields["leaves"]["maxItems"] == 2
    assert fields["text"]["maxLength"] == 5


def test_a_late_default_is_left_to_the_operator(fields: dict[str, Any]) -> None:
    assert "default" not in fields["late"]
    assert fields["early"]["default"] == 7
    assert fields["switch"]["default"] is False
    assert Tree(word="Only", number=30).late == 7


def test_a_rule_without_its_own_message_has_the_fallback_only() -> None:
    assert Rule("a", "b").manifest() == {"rule": "a", "message": "b"}
    assert Rule("a", "b", expression="c", reason="d", path=".e").manifest() == {
        "rule": "a",
        "message": "b",
        "messageExpression": "c",
        "reason": "d",
        "fieldPath": ".e",
    }


class Unbounded(Model):
    """Strings without bound, below a list."""

    items: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(max_length=2)]
    """Texts."""


class Endless(Model):
    """A list without bound."""

    items: tuple[Bounded, ...]
    """Texts."""


class Upwards(Model):
    """An integer without upper bound."""

    many: Annotated[int, Field(ge=0)]
    """A number."""


class Exclusive(Model):
    """A bound that OpenAPI 3.0 writes differently."""

    some: Annotated[int, Field(gt=0, le=9)]
    """A number."""


class Undescribed(Model):
    """A field that says nothing."""

    silent: bool


class Either(Model):
    """A union."""

    either: Annotated[int, Field(ge=0, le=1)] | bool
    """One or the other."""


class Anything(Model):
    """Anything at all."""

    thing: Any
    """Something."""


class Fraction(Model):
    """A floating-point number."""

    part: Annotated[float, Field(ge=0, le=1)]
    """A part."""


class Table(Model):
    """A map with free keys."""

    entries: dict[str, bool]
    """Entries."""


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Unbounded, r"Unbounded\.items\[\]: has no bound"),
        (Endless, r"Endless\.items: has no bound"),
        (Upwards, r"Upwards\.many: has no bound"),
        (Exclusive, r"Exclusive\.some: exclusiveMinimum has no place"),
        (Undescribed, r"Undescribed\.silent: has no description"),
        (Either, r"Either\.either: anyOf has no place"),
        (Anything, r"Anything\.thing: its type is None"),
        (Fraction, r"Fraction\.part: its type is 'number'"),
        (Table, r"Table\.entries: additionalProperties has no place"),
    ],
)
def test_what_an_api_server_would_misread_is_refused_with_its_path(model: type[Model], message: str) -> None:
    with pytest.raises(SchemaError, match=message):
        structural(model)


def test_a_type_that_is_used_twice_is_written_out_twice() -> None:
    class Pair(Model):
        """Two references."""

        first: LocalRef
        """The first."""
        second: LocalRef
        """The second."""

    first, second = structural(Pair)["properties"].values()
    assert first["properties"] == second["properties"]
    assert first["description"] == "The first."
