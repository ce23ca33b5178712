"""A frozen image that is lost before it could be sent, and then the fresh one too."""

from pathlib import Path

import pytest

from secondsite.agent.lab.engine import LinkError
from secondsite.agent.lab.engine.primary.cycle import CycleRun
from support.engine_pair import BLOCK, Pair, pattern


def test_nothing_is_sent_of_an_image_that_is_lost_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(run: CycleRun) -> bool:
        begin(run)
        return False

    begin = CycleRun.begin
    with Pair(tmp_path, {"data": 8 * BLOCK}) as pair:
        pair.disks["data"].write(0, pattern(1))
        with monkeypatch.context() as patched:
            patched.setattr(CycleRun, "begin", lost)
            with pytest.raises(LinkError, match="fresh image was lost"):
                pair.cycle()
        assert pair.target.points() == []
        assert pair.matches(pair.cycle().cycle)
