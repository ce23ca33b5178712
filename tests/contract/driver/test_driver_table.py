"""The suite is whole: every verb of the contract stands in its tables, and its tables say what its tests do."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from secondsite.wire.operations import SITE_VERBS, Verb
from support.driver_rig_stories import STORIES
from support.driver_rig_table import ACCEPTED, NOT_INTERRUPTED, PROOFS, rendered

SUITE = Path(__file__).parent
DOCUMENT = SUITE.parents[2] / "docs" / "driver-contract.md"


def functions() -> dict[str, str]:
    """The source of every function of the suite, by name."""
    found: dict[str, str] = {}
    for file in SUITE.glob("test_*.py"):
        text = file.read_text(encoding="utf-8")
        nodes = [node for node in ast.parse(text).body if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
        found |= {node.name: ast.get_source_segment(text, node) or "" for node in nodes}
    return found


@pytest.mark.parametrize("table", [ACCEPTED, PROOFS], ids=["accepted", "proofs"])
def test_every_verb_has_an_entry(table: dict[Verb, object]) -> None:
    assert {verb for verb in Verb if verb not in table} == set()


def test_what_the_table_names_carries_the_verb_out() -> None:
    known = functions()
    wrong = [
        (verb.value, name)
        for verb, names in PROOFS.items()
        for name in names
        if f"Verb.{verb.name}" not in known.get(name, "")
    ]
    assert wrong == []


def test_every_verb_is_held_to_all_promises_by_one_of_its_tests() -> None:
    known = functions()
    acted = {verb for verb, names in PROOFS.items() if any("act(" in known[name] for name in names)}
    assert {*Verb} - acted == SITE_VERBS


def test_every_verb_is_interrupted_or_says_why_not() -> None:
    told = {step.verb for story in STORIES for step in story.steps}
    assert {verb for verb in Verb if verb not in told} == set(NOT_INTERRUPTED)


def test_the_document_shows_the_table_as_it_is() -> None:
    lines = DOCUMENT.read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line.startswith(tuple(f"| `{verb}` |" for verb in Verb))] == rendered()
