import os
import ssl
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec
import pytest

from secondsite.agent.lab.engine import (
    DamagedBlock,
    DataServer,
    EngineError,
    LinkError,
    NoSpace,
    PeerClient,
    PeerRefused,
    StoreDamaged,
    StoreLocked,
)
from secondsite.trust.contexts import client_context, server_context
from secondsite.trust.gate import SiteGate, only_roles
from secondsite.trust.names import Role
from secondsite.wire.peer import MAX_FRAME_BYTES, DiskPlan, FramesHeld, PeerStatus
from support.engine_pair import Pair, pattern
from support.engine_wire import SIZES, frame, opening, put, request, talk
from support.vault import Vault


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with Pair(tmp_path, SIZES) as pair:
        yield pair


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", b"BadRequest"),
        (b"GET /v1/vms/vm HTTP/1.0\r\n\r\n", b"BadRequest"),
        (b"BREW /v1/vms/vm HTTP/1.1\r\n\r\n", b"BadRequest"),
        (b"GET /v1/vms/../secret HTTP/1.1\r\n\r\n", b"UnknownPath"),
        (b"GET /v1/vms/.hidden HTTP/1.1\r\n\r\n", b"UnknownPath"),
        (b"GET /v1/vms/other HTTP/1.1\r\n\r\n", b"UnknownVM"),
        (b"POST /v1/vms/vm/cycles HTTP/1.1\r\ncontent-length: 99999999\r\n\r\n", b"BadMessage"),
        (b"POST /v1/vms/vm/cycles HTTP/1.1\r\ncontent-length: -1\r\n\r\n", b"BadMessage"),
        (request("POST", "/v1/vms/vm/cycles", {"cycle": "c1"}), b"BadRequest"),
        (request("POST", "/v1/vms/vm/cycles/c9/commit", {"disks": {}}), b"UnknownCycle"),
        (put(b"x" * 100), b"UnknownCycle"),
        (b"PUT /v1/vms/vm/cycles/c1/disks/a/frames?from=0 HTTP/1.1\r\ncontent-length: 0\r\n\r\n", b"UnknownCycle"),
    ],
)
def test_garbage_gets_a_problem_and_harms_nobody(pair: Pair, raw: bytes, code: bytes) -> None:
    answer = talk(pair.server.port, raw)
    assert answer.startswith(b"HTTP/1.1 4")
    assert b'"code":"' + code in answer
    assert pair.client.status("vm").head is None


@pytest.mark.parametrize("raw", [b"", b"GET", b"G" * 100_000, b"GET /v1/vms/vm HTTP/1.1\r\n" + b"a: b\r\n" * 10_000])
def test_no_end_of_a_head_is_waited_for(pair: Pair, raw: bytes) -> None:
    assert not talk(pair.server.port, raw).startswith(b"HTTP/1.1 2")
    assert pair.client.status("vm").head is None


@pytest.mark.parametrize(
    ("body", "code", "kept"),
    [
        (put(b"x" * 100), b"CorruptFrame", 0),
        (put(frame(0)[:-1] + b"?"), b"CorruptFrame", 0),
        (put(frame(0, cycle="c2")), b"CorruptFrame", 0),
        (put(frame(0, generation=2)), b"CorruptFrame", 0),
        (put(frame(1)), b"CorruptFrame", 0),
        (put(frame(0, first=190)), b"CorruptFrame", 0),
        (put(frame(0), frame(1, first=10)), b"CorruptFrame", 1),
        (put(frame(0), frame(1), frame(2, first=130)), b"CorruptFrame", 2),
        (put(frame(0), first=5), b"FramesMissing", 0),
        (put(frame(0), path="/v1/vms/vm/cycles/c1/disks/z/frames"), b"UnknownDisk", 0),
        (put(end=b"zz\r\n"), b"BadMessage", 0),
        (put(frame(0), end=b"%x\r\n" % (MAX_FRAME_BYTES + 1)), b"BadMessage", 1),
    ],
)
def test_bad_frames_are_refused_and_good_ones_before_them_kept(pair: Pair, body: bytes, code: bytes, kept: int) -> None:
    pair.target.receiver.open_cycle(opening())
    assert b'"code":"' + code in talk(pair.server.port, body)
    status = pair.client.status("vm")
    assert status.open is not None
    assert status.open.have == {"a": kept}


def test_frames_that_were_sent_before_are_skipped(pair: Pair) -> None:
    pair.target.receiver.open_cycle(opening())
    assert talk(pair.server.port, put(frame(0))).endswith(b'{"have":1}')
    assert talk(pair.server.port, put(frame(0), frame(1))).endswith(b'{"have":2}')
    assert (pair.folder / "target/disks/a/incoming/c1.part").stat().st_size == len(frame(0)) + len(frame(1))


def test_a_frame_cut_in_the_middle_is_as_if_it_never_came(pair: Pair) -> None:
    pair.target.receiver.open_cycle(opening())
    whole = put(frame(0), frame(1))
    talk(pair.server.port, whole[: len(whole) - 1000])
    pair.restart_target()
    assert pair.target.receiver.open_cycle(opening()).have == {"a": 1}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"parent": "p9"}, "HeadConflict"),
        ({"disks": {}}, "BadDisks"),
        ({"disks": {"a": DiskPlan(size=0, blocks=0)}}, "BadDisks"),
        ({"disks": {"a": DiskPlan(size=1 << 60, blocks=0)}}, "BadDisks"),
    ],
)
def test_cycles_that_cannot_be_are_refused(pair: Pair, change: dict[str, Any], code: str) -> None:
    message = msgspec.structs.replace(opening(), **change)
    with pytest.raises(PeerRefused) as caught:
        pair.target.receiver.open_cycle(message)
    assert caught.value.code == code
    assert not list((pair.folder / "target/disks").iterdir())


def test_a_primary_of_an_older_generation_is_refused(pair: Pair) -> None:
    pair.target.receiver.open_cycle(msgspec.structs.replace(opening(), generation=3))
    with pytest.raises(PeerRefused, match="StaleGeneration"):
        pair.target.receiver.open_cycle(opening())


def test_the_same_cycle_cannot_change_its_plan(pair: Pair) -> None:
    pair.target.receiver.open_cycle(opening())
    with pytest.raises(PeerRefused, match="PlanChanged"):
        pair.target.receiver.open_cycle(opening(blocks=3))


def test_a_wrong_root_is_not_committed(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    pair.disks["a"].write(0, b"x")
    for tracker in pair.source.trackers.values():
        monkeypatch.setattr(tracker, "digests", lambda plan: bytes(16 * len(plan)))
    with pytest.raises(PeerRefused, match="RootMismatch"):
        pair.cycle()
    assert pair.target.points() == []


def test_with_tls_the_certificate_decides(tmp_path: Path) -> None:
    vault, seen = Vault(), []

    def authorize(certificate: Any, vm_id: str, path: str) -> str:
        seen.append((certificate["subjectAltName"][0][1].rpartition("/")[2], vm_id))
        if path.endswith("/commit"):
            raise PeerRefused(403, "NotAssociated", "no association names this site")
        return "newyork"

    def dialler(site: str) -> ssl.SSLContext:
        return client_context(vault.agent(site), vault.trust(), SiteGate("chicago", "127.0.0.1"))

    with Pair(tmp_path, SIZES) as pair:
        context = server_context(vault.agent("chicago"), vault.trust(), only_roles(Role.AGENT))
        server = DataServer("127.0.0.1", 0, context, pair._store, authorize)
        server.start()
        try:
            pair.disks["a"].write(0, pattern(1))
            with pytest.raises(PeerRefused, match="NotAssociated"):
                pair.source.run_cycle(PeerClient("127.0.0.1", server.port, dialler("newyork"), bucket=pair.bucket))
            assert set(seen) == {("newyork", "vm")}
            assert pair.target.status().open is not None
            with pytest.raises(LinkError):
                PeerClient("127.0.0.1", server.port, None, timeout_seconds=2).status("vm")
            other = client_context(Vault().agent("newyork"), vault.trust(), SiteGate("chicago", "127.0.0.1"))
            with pytest.raises(LinkError):
                PeerClient("127.0.0.1", server.port, other).status("vm")
        finally:
            server.close()


def test_messages_beside_replication_are_authorized_and_handed_on() -> None:
    heard: list[tuple[str, str, bytes]] = []

    def authorize(_: object, vm_id: str, path: str) -> str:
        if vm_id == "foreign":
            raise PeerRefused(403, "NotAuthorized", f"not {path}")
        return "newyork"

    def post(site: str, vm_id: str, body: bytes) -> FramesHeld:
        heard.append((site, vm_id, body))
        return FramesHeld(have=len(heard))

    server = DataServer("127.0.0.1", 0, None, lambda _: None, authorize, {"/v1/notes/": post})
    server.start()
    client = PeerClient("127.0.0.1", server.port, None, timeout_seconds=10)
    try:
        assert client.post("/v1/notes/vm", FramesHeld(have=7), FramesHeld).have == 1
        with pytest.raises(PeerRefused, match="not /v1/notes/foreign"):
            client.post("/v1/notes/foreign", FramesHeld(have=8), FramesHeld)
        for path in ("/v1/notes/", "/v1/notes/a/b", "/v1/notes/.a", "/v1/other/vm"):
            with pytest.raises(PeerRefused, match="UnknownPath"):
                client.post(path, FramesHeld(have=9), FramesHeld)
    finally:
        server.close()
    assert heard == [("newyork", "vm", b'{"have":7}')]


def test_a_peer_that_is_not_who_it_should_be_is_not_spoken_to(pair: Pair) -> None:
    def verify(_: object) -> None:
        raise PeerRefused(403, "WrongSite", "this is not chicago")

    client = PeerClient("127.0.0.1", pair.server.port, None, verify_peer=verify)
    with pytest.raises(PeerRefused, match="WrongSite"):
        client.status("vm")


def test_a_closed_server_ends_its_connections(pair: Pair) -> None:
    with pair.client.session() as peer:
        assert isinstance(peer.status("vm"), PeerStatus)
        pair.server.close()
        with pytest.raises(LinkError):
            peer.status("vm")
    with pytest.raises(LinkError):
        pair.client.status("vm")


def test_an_agent_with_many_open_files_replicates(pair: Pair) -> None:
    """Each layer of each VM is a file descriptor: soon there are more than select(2) can name."""
    with ExitStack() as stack:
        for _ in range(1100):
            stack.callback(os.close, os.open(os.devnull, os.O_RDONLY))
        pair.disks["a"].write(0, pattern(1))
        assert pair.matches(pair.cycle().cycle)


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (StoreDamaged("layer 7: its index is damaged"), 500, "StoreDamaged"),
        (DamagedBlock("p", "data", 3), 500, "DamagedBlock"),
        (NoSpace("no room for a layer"), 507, "InsufficientSpace"),
        (StoreLocked("open elsewhere"), 503, "Unavailable"),
        (EngineError("whatever else"), 500, "StoreFailed"),
    ],
)
def test_what_is_wrong_at_the_replica_is_not_the_senders_fault(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, error: EngineError, status: int, code: str
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(pair.target.receiver, "commit", fail)
    with pytest.raises(PeerRefused) as refused:
        pair.cycle()
    assert (refused.value.status, refused.value.code, refused.value.detail) == (status, code, str(error))
    monkeypatch.undo()
    assert pair.cycle().resumed
