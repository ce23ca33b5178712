"""What a newer agent wrote, or sends: said, and left as it is."""

import zlib
from pathlib import Path

import pytest

from secondsite.agent.lab.engine import StoreDamaged, TargetStore
from secondsite.agent.lab.engine.check import fsck
from secondsite.wire.peer import FrameHeader
from support.engine_pair import BLOCK, Pair


def test_a_line_that_is_not_known_here_stops_the_store_and_stays(tmp_path: Path) -> None:
    with Pair(tmp_path, {"data": 2 * BLOCK}) as pair:
        pair.cycle()
    body = b'{"event":"Replaced","point":"p"}'
    log = tmp_path / "target" / "catalog.log"
    with log.open("ab") as file:
        file.write(b"%08x %s\n" % (zlib.crc32(body), body))
    before = log.read_bytes()
    with pytest.raises(StoreDamaged, match="use the agent that wrote it"):
        TargetStore(tmp_path / "target", "vm")
    for examine in (fsck.check, fsck.repair):
        (finding,) = examine(tmp_path / "target").findings
        assert "Replaced" in finding.what
    assert log.read_bytes() == before


def test_flags_of_a_frame_that_are_not_known_here_are_refused() -> None:
    head = FrameHeader(sequence=0, blocks=1, raw_bytes=0, stored_bytes=0, generation=1, cycle=bytes(16)).pack(bytes(32))
    assert FrameHeader.unpack(head[:64]).blocks == 1
    with pytest.raises(ValueError, match="flags 4"):
        FrameHeader.unpack(head[:7] + b"\x04" + head[8:64])
