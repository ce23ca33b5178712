"""What a site writes where Hyper-V writes its events."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from secondsite.agent.lab.counters import Kind, Window, current
from secondsite.agent.lab.events import Event
from secondsite.agent.lab.halves import Halves
from secondsite.agent.lab.host_log import TEXTS, HostLog
from secondsite.agent.lab.state import Documents, Half
from secondsite.agent.lab.table import TABLE
from secondsite.wire.facts import Replication

NOW = datetime(2026, 3, 1, 9, tzinfo=UTC)


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Halves]:
    documents = Documents(tmp_path / "lab.db")
    made = Halves(documents, lambda _: None, HostLog(lambda: NOW))
    half = Half("vm", "web", "Primary", "Disabled", "west", "a", Replication(30), (), Window(start=NOW))
    made.create(Event.ENABLE, half)
    yield made
    documents.close()


def told(made: Halves) -> list[tuple[int, str]]:
    return [(record.id, record.vm_name) for record in made.host_log.newest(10)]


def test_every_event_of_the_table_has_its_words() -> None:
    assert {int(id_) for row in TABLE for id_ in row.events.split(", ") if id_} | {29174} == set(TEXTS)


def test_a_step_writes_the_events_of_its_row_and_why(made: Halves) -> None:
    made.step("vm", Event.START_INITIAL)
    made.step("vm", Event.INITIAL_DONE)
    assert told(made) == []
    made.step("vm", Event.CYCLE_FAILED, failure="no route")
    assert told(made) == [(32022, "web"), (32315, "web")]
    assert all("no route" in record.text and record.time == NOW for record in made.host_log.newest(2))
    made.step("vm", Event.CYCLE_REFUSED, failure="not authorized")
    assert told(made)[2:] == [(32022, "web"), (32086, "web")]


def test_a_window_that_ends_is_written_once_and_a_reset_never(made: Halves) -> None:
    window = Window(start=NOW).failed(Kind.NETWORK)
    made.update("vm", window=window)
    made.update("vm", window=Window(start=NOW + timedelta(hours=1)))
    assert told(made) == []
    made.update("vm", window=current(window, NOW + timedelta(hours=12), 12 * 3600))
    made.update("vm", failures=1)
    assert told(made) == [(29174, "web")]


def test_the_newest_are_kept() -> None:
    log = HostLog(lambda: NOW)
    row = next(row for row in TABLE if row.events == "29242")
    half = Half("vm", "web", "Primary", "Suspended", "west", "a", Replication(30), (), Window(start=NOW))
    for number in range(700):
        log.moved(row, half, msgspec.structs.replace(half, failure=str(number)))
    assert [record.text.rsplit(" ", 1)[1] for record in log.newest(2)] == ["698", "699"]
    assert len(log.newest(9999)) == 500
