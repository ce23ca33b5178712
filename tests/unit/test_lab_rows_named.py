"""Every row of the transition table has a test that bears its number: `test_row_07_…`, `test_row_15_and_18_…`."""

from __future__ import annotations

import re
from pathlib import Path

from secondsite.agent.lab.table import TABLE

TESTS = Path(__file__).parents[1]
_ONE = re.compile(r"def test_row_(\d\d(?:_and_\d\d)*)_")
_SEVERAL = re.compile(r"def test_rows_(\d\d)_to_(\d\d)_")
# Rows of docs/hyper-v-replica.md that are other rows once more, and so no row of the table.
BY_OTHERS = {32}


def numbers_tested() -> set[int]:
    found: set[int] = set()
    for file in TESTS.rglob("test_*.py"):
        text = file.read_text(encoding="utf-8")
        found |= {int(number) for names in _ONE.findall(text) for number in names.split("_and_")}
        found |= {number for first, last in _SEVERAL.findall(text) for number in range(int(first), int(last) + 1)}
    return found


def test_every_row_has_a_test_with_its_number() -> None:
    wanted = {row.number for row in TABLE} | BY_OTHERS
    assert sorted(wanted - numbers_tested()) == []


def test_no_test_bears_the_number_of_a_row_that_there_is_not() -> None:
    known = {row.number for row in TABLE} | BY_OTHERS
    assert sorted(numbers_tested() - known) == []
