"""What a newer agent wrote, or sends: said, and left as it is."""

import zlib
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from secondsite.agent.lab.engine import CompareResult, CycleResult, PeerRefused, StoreDamaged, TargetStore
from secondsite.agent.lab.engine.check import fsck
from secondsite.agent.lab.engine.replica.receiver import Receiver
from secondsite.wire.peer import WIRE_VERSION, FrameHeader, PeerStatus
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


@pytest.mark.parametrize(
    "verb", [lambda pair: pair.cycle(), lambda pair: pair.source.compare(pair.client)], ids=["cycle", "compare"]
)
def test_a_peer_of_another_version_is_sent_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: Callable[[Pair], CycleResult | CompareResult]
) -> None:
    def newer(self: Receiver) -> PeerStatus:
        return msgspec.structs.replace(status(self), version=WIRE_VERSION + 1)

    status = Receiver.status
    with Pair(tmp_path, {"data": 2 * BLOCK}) as pair:
        pair.cycle()
        pair.disks["data"].write(0, b"not for that one")
        with monkeypatch.context() as patched:
            patched.setattr(Receiver, "status", newer)
            with pytest.raises(PeerRefused, match=r"speaks version 2 of the data port, version 1 is spoken here"):
                verb(pair)
        assert (pair.source.open_cycle, pair.target.status().open) == (None, None)
        assert pair.cycle().blocks == 1
