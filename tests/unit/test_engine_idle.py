"""Connections that a link keeps between cycles: used again while they stand, and never in the way of a cycle."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from secondsite.agent.lab.engine import Compression, DataServer, Link, PeerClient, PeerRefused
from secondsite.agent.lab.engine.port import idle
from support.engine_pair import BLOCK, Pair, pattern

SIZES = {"data": 8 * BLOCK}


class CountingPair(Pair):
    """A pair whose link keeps two connections; `dialled` counts those that were made."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, SIZES)
        self.dialled = 0
        self.link = Link(keep=2)
        self.client = self.another_client()

    def another_client(self) -> PeerClient:
        client = PeerClient("127.0.0.1", self.server.port, None, compression=Compression.Off, link=self.link)
        opened = client.open_channel

        def count() -> object:
            self.dialled += 1
            return opened()

        client.open_channel = count  # type: ignore[method-assign,assignment]  # only to count
        return client

    def serve_anew(self) -> None:
        """The other agent restarts: all its connections end."""
        port = self.server.port
        self.server.close()
        self.server = DataServer("127.0.0.1", port, None, self._store, lambda *_: "source")
        self.server.start()


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[CountingPair]:
    with CountingPair(tmp_path) as opened:
        yield opened
        opened.link.idle.close()


def test_cycles_without_blocks_share_one_connection_whoever_asks(pair: CountingPair) -> None:
    for _ in range(5):
        pair.cycle()
        pair.client = pair.another_client()
    assert pair.dialled == 1


def test_a_cycle_with_blocks_leaves_its_connections_too_but_no_more_than_are_kept(pair: CountingPair) -> None:
    pair.disks["data"].write(0, pattern(1))
    point = pair.cycle().cycle
    used = pair.dialled
    pair.cycle()
    assert pair.dialled == used
    assert pair.matches(point)


def test_a_peer_that_restarted_costs_no_cycle(pair: CountingPair) -> None:
    pair.cycle()
    pair.serve_anew()
    pair.disks["data"].write(BLOCK, pattern(2))
    assert pair.matches(pair.cycle().cycle)


def test_a_peer_that_hangs_up_in_the_very_moment_of_the_request_costs_no_cycle(
    pair: CountingPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair.cycle()
    pair.serve_anew()
    # As if the end had not arrived yet when the connection was looked at.
    monkeypatch.setattr("secondsite.agent.lab.engine.port.client.PeerSession._still", lambda _: True)
    pair.cycle()


def test_what_has_lain_too_long_or_is_too_old_is_not_used(pair: CountingPair, monkeypatch: pytest.MonkeyPatch) -> None:
    pair.cycle()
    monkeypatch.setattr(idle, "_IDLE_SECONDS", 0.0)
    pair.cycle()
    before = pair.dialled
    monkeypatch.setattr(idle, "_IDLE_SECONDS", 60.0)
    pair.cycle()
    monkeypatch.setattr(idle, "_LONGEST_SECONDS", 0.0)
    pair.cycle()
    assert pair.dialled > before + 1


def test_a_refusal_leaves_no_connection_behind(pair: CountingPair) -> None:
    with pytest.raises(PeerRefused):
        pair.client.status("nobody")
    with pair.client.session() as peer:
        assert peer.status("vm").head is None
    assert pair.dialled == 2


def test_many_at_once_never_share_one(pair: CountingPair) -> None:
    pair.cycle()
    failures: list[BaseException] = []

    def ask() -> None:
        try:
            for _ in range(20):
                assert pair.client.status("vm").vm == "vm"
        except BaseException as error:  # noqa: BLE001 - told below
            failures.append(error)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
