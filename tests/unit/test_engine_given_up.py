"""A cycle that is given up while the answer to its commit is lost: it may be a recovery point all the same."""

from pathlib import Path
from typing import Any

import pytest

from secondsite.agent.lab.engine import HeadConflict, LinkError, PeerClient
from secondsite.agent.lab.engine.port.client import PeerSession
from support.engine_pair import BLOCK, Pair, pattern

SIZES = {"data": 8 * BLOCK}


def lose_the_answer(patched: pytest.MonkeyPatch) -> None:
    commit = PeerSession.commit

    def lost(peer: PeerSession, *arguments: Any) -> None:
        commit(peer, *arguments)
        raise LinkError("the answer was lost")

    patched.setattr(PeerSession, "commit", lost)


def given_up(pair: Pair) -> str:
    """A cycle that the replica has committed, and the source gave up."""
    for block in range(8):
        pair.disks["data"].write(block * BLOCK, pattern(block))
    with pytest.MonkeyPatch.context() as patched:
        lose_the_answer(patched)
        with pytest.raises(LinkError):
            pair.cycle()
    opened = pair.source.open_cycle
    assert opened is not None
    pair.source.abandon()
    return opened.cycle


@pytest.mark.parametrize("restarted", [True, False])
def test_the_next_cycle_stands_on_it(tmp_path: Path, restarted: bool) -> None:
    with Pair(tmp_path, SIZES) as pair:
        first = given_up(pair)
        pair.disks["data"].write(3 * BLOCK, pattern(99))
        if restarted:
            pair.restart_source()
        second = pair.cycle()
        assert [point.id for point in pair.target.points()] == [first, second.cycle]
        assert pair.matches(second.cycle)
        assert pair.target.read_point(first, "data", 3 * BLOCK, 9) == pattern(3)[:9]


def test_a_commit_that_happens_after_the_next_freeze_is_taken_up(tmp_path: Path) -> None:
    """The replica was so slow that the source asked for its newest point, and froze anew, before it had committed."""
    with Pair(tmp_path, SIZES) as pair:
        first = given_up(pair)
        status = PeerClient.status

        def before_it(client: PeerClient, vm_id: str) -> Any:
            answer = status(client, vm_id)
            return type(answer)(vm=vm_id, generation=0, head=None, open=None, disks={})

        pair.disks["data"].write(5 * BLOCK, pattern(98))
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(PeerClient, "status", before_it)
            second = pair.cycle()
        assert [point.id for point in pair.target.points()] == [first, second.cycle]
        assert pair.matches(second.cycle)


def test_another_point_there_is_still_a_conflict(tmp_path: Path) -> None:
    with Pair(tmp_path, SIZES) as pair:
        given_up(pair)
        pair.source._change(given_up="another")
        with pytest.raises(HeadConflict, match="resynchronize"):
            pair.cycle()
