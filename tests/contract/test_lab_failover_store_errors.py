"""Changes of roles while the site's own store cannot be written for a moment: what was tried can be tried again."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from secondsite.agent.lab.estate import Estate
from secondsite.agent.lab.state import Changeover, Document, Half, Placement
from secondsite.wire.arguments import Failover
from secondsite.wire.operations import Verb
from secondsite.wire.problems import Refusal
from support.lab_centres import WEB
from support.lab_failover import MovingPair, moving_pair
from support.patience import until


@pytest.fixture
async def moving(tmp_path: Path) -> AsyncIterator[MovingPair]:
    async with moving_pair(tmp_path) as found:
        await found.pair.protect()
        yield found


def estate_of(moving: MovingPair) -> Estate:
    site = moving.west.driver._site
    assert site is not None
    return site.estate


def fail_once(moving: MovingPair, kind: type[Document], patch: pytest.MonkeyPatch) -> None:
    """The next document of that kind cannot be written at the target."""
    documents, left = estate_of(moving).documents, [kind]
    put = documents.put

    def failing(id_: str, document: Document) -> None:
        if type(document) in left:
            left.clear()
            raise sqlite3.OperationalError("disk I/O error")
        put(id_, document)

    patch.setattr(documents, "put", failing)


@pytest.mark.parametrize("kind", [Placement, Half])
async def test_row_25_a_failover_that_could_not_be_noted_can_be_repeated(
    moving: MovingPair, monkeypatch: pytest.MonkeyPatch, kind: type[Document]
) -> None:
    await moving.prepare(moving.east)
    fail_once(moving, kind, monkeypatch)
    with pytest.raises(sqlite3.OperationalError):
        await moving.west.do(Verb.FAILOVER, WEB, Failover(planned=True))
    assert moving.west.driver.state(WEB) == "Replicating"
    await moving.west.do(Verb.FAILOVER, WEB, Failover(planned=True))
    await moving.west.do(Verb.START_VM, WEB)
    await moving.writes_on(moving.west)
    await moving.west.do(Verb.REVERSE_REPLICATION, WEB, moving.reverse_arguments(moving.west))
    await until(lambda: moving.states() == ("Replicating", "Replicating"))


async def test_row_29_a_reversal_that_could_not_be_noted_leaves_the_vm_running(
    moving: MovingPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    await moving.prepare(moving.east)
    await moving.west.do(Verb.FAILOVER, WEB, Failover(planned=True))
    await moving.west.do(Verb.START_VM, WEB)
    fail_once(moving, Changeover, monkeypatch)
    arguments = moving.reverse_arguments(moving.west)
    with pytest.raises(sqlite3.OperationalError):
        await moving.west.do(Verb.REVERSE_REPLICATION, WEB, arguments)
    await moving.writes_on(moving.west)
    await moving.west.do(Verb.REVERSE_REPLICATION, WEB, arguments)
    await moving.writes_on(moving.west)
    assert moving.states() == ("Replicating", "Replicating")


async def test_row_48_a_start_that_failed_does_not_come_true_at_the_agents_next_one(
    moving: MovingPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    await moving.pair.source.driver.stop()
    await moving.west.do(Verb.FAILOVER, WEB, Failover())

    def fail(*_: object) -> None:
        raise OSError("too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(estate_of(moving).machinery, "guest_on", fail)
        with pytest.raises(Refusal, match="too many open files"):
            await moving.west.do(Verb.START_VM, WEB)
    await moving.west.restart()
    assert WEB not in estate_of(moving).recovered.guests
    await moving.west.do(Verb.START_VM, WEB)
    assert WEB in estate_of(moving).recovered.guests
    await moving.pair.source.start()
