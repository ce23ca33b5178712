"""A commit that the catalogue refuses, and a sender that does not try it again: nothing of it is left."""

from datetime import timedelta
from pathlib import Path

import pytest

from secondsite.agent.lab.engine import PeerRefused
from secondsite.agent.lab.engine.replica.catalogue import Catalogue, Committed, Event
from secondsite.wire.peer import CycleKind, CycleOpen, DiskPlan
from support.engine_damage import disk_folder, scrub_files
from support.engine_pair import BLOCK, START, Pair, pattern


def test_the_layer_of_a_commit_that_failed_goes_with_its_cycle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Catalogue, event: Event) -> None:
        if isinstance(event, Committed):
            raise OSError(28, "No space left on device")
        append(self, event)

    append = Catalogue.append
    with Pair(tmp_path, {"a": 2 * BLOCK}) as pair:
        pair.disks["a"].write(0, pattern(1))
        first = pair.cycle().cycle
        pair.disks["a"].write(0, pattern(2))
        with monkeypatch.context() as patched:
            patched.setattr(Catalogue, "append", full)
            with pytest.raises(PeerRefused, match="No space left"):
                pair.cycle()
        layers = disk_folder(pair) / "layers"
        assert len(list(layers.iterdir())) == 2
        assert scrub_files(pair.target).files == 2
        another = CycleOpen(
            cycle="another",
            parent=first,
            generation=pair.target.status().generation,
            freeze_time=START + timedelta(hours=1),
            kind=CycleKind.Delta,
            disks={"a": DiskPlan(size=2 * BLOCK, blocks=1)},
        )
        pair.target.receiver.open_cycle(another)
        assert [path.stem for path in layers.iterdir()] == [first]
        assert pair.target.core.replicas["a"].points() == [first]
        # The store never learned anything else: the head's content is whole.
        assert pair.target.read_point(first, "a", 0, BLOCK) == pattern(1)
