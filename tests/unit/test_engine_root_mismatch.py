"""Two sides that disagree about a cycle's digests start over instead of disagreeing for ever."""

from pathlib import Path

import pytest

from secondsite.agent.lab.engine import PeerRefused
from support.engine_pair import BLOCK, Pair


def test_a_cycle_whose_root_differs_is_given_up_and_the_next_one_carries_its_blocks(tmp_path: Path) -> None:
    with Pair(tmp_path, {"c": 4 * BLOCK}) as pair:
        pair.disks["c"].write(0, b"first")
        pair.cycle()
        pair.disks["c"].write(BLOCK, b"second")
        tracker = pair.source.trackers["c"]
        right = tracker.digests
        tracker.digests = lambda plan: bytes(16 * len(plan))  # type: ignore[method-assign]  # as after a flipped bit
        with pytest.raises(PeerRefused, match="RootMismatch"):
            pair.cycle()
        tracker.digests = right  # type: ignore[method-assign]  # as above
        assert pair.source.open_cycle is None
        result = pair.cycle()
        assert pair.target.read_point(result.cycle, "c", BLOCK, 6) == b"second"
