"""A link that breaks at any byte: what the replica acknowledged is not sent again, and the point is the source."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from secondsite.agent.lab.engine import Compression, LinkError, PeerClient
from secondsite.wire.peer import ENTRY, HEADER_BYTES
from support.engine_pair import BLOCK, Pair, pattern
from support.engine_proxy import Conversation, Cut, Edit, Proxy, cut_at, unchanged
from support.engine_soak import wait_until

FRAMES = 3
SIZES = {"a": FRAMES * 64 * BLOCK}
FRAME_BYTES = HEADER_BYTES + 64 * (ENTRY.size + BLOCK)
CHUNK_LINE = len(b"%x\r\n" % FRAME_BYTES)


class Linked(Pair):
    """A pair whose link can be edited."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, SIZES)
        self.proxy = Proxy(self.server.port)
        self.client = self.client_through(Compression.Off)

    def client_through(self, compression: Compression) -> PeerClient:
        return PeerClient("127.0.0.1", self.proxy.port, None, timeout_seconds=10, compression=compression)

    def __exit__(self, *_: object) -> None:
        self.proxy.__exit__()
        super().__exit__()

    def held(self) -> int:
        opened = self.target.status().open
        return opened.have["a"] if opened else 0


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Linked]:
    with Linked(tmp_path) as pair:
        for number in range(FRAMES * 64):
            pair.disks["a"].write(number * BLOCK, pattern(number))
        yield pair


def in_frame(number: int, offset: int) -> int:
    """The position of a byte of a frame's chunk among what follows the request's head."""
    return number * (CHUNK_LINE + FRAME_BYTES + 2) + offset


PAYLOAD = CHUNK_LINE + HEADER_BYTES + 64 * ENTRY.size
CUTS = {
    "in the request": (-10, 0),
    "after the request": (0, 0),
    "in the size of a chunk": (in_frame(1, 2), 1),
    "in a header": (in_frame(1, CHUNK_LINE + 30), 1),
    "after a header": (in_frame(1, CHUNK_LINE + HEADER_BYTES), 1),
    "in a table": (in_frame(1, CHUNK_LINE + HEADER_BYTES + 500), 1),
    "after a table": (in_frame(1, PAYLOAD), 1),
    "in a payload": (in_frame(1, PAYLOAD + 1_000_001), 1),
    "in the last byte of a payload": (in_frame(1, CHUNK_LINE + FRAME_BYTES - 1), 1),
    "before the end of a chunk": (in_frame(1, CHUNK_LINE + FRAME_BYTES), 1),
    "between chunks": (in_frame(2, 0), 2),
    "in the last frame": (in_frame(2, PAYLOAD + 5), 2),
    "before the last chunk": (in_frame(3, 0), 3),
    "in the last chunk": (in_frame(3, 1), 3),
}


def cut_of_stream(position: int) -> Edit:
    """Cut a stream of frames so many bytes after its head."""
    once: list[int] = []

    def edit(talk: Conversation, offset: int, part: bytes) -> bytes:
        if not talk.streams or (once and once[0] != talk.number):
            return part
        once[:] = [talk.number]
        end = talk.asked.index(b"\r\n\r\n") + 4 + position
        if offset + len(part) <= end:
            return part
        raise Cut(part[: end - offset])

    return edit


@pytest.mark.parametrize("where", CUTS)
def test_a_cycle_goes_on_behind_the_last_whole_frame(pair: Linked, where: str) -> None:
    position, kept = CUTS[where]
    pair.proxy.requests = cut_of_stream(position)
    with pytest.raises(LinkError):
        pair.cycle()
    wait_until(lambda: pair.held() == kept, 10)
    pair.proxy.requests = unchanged
    result = pair.cycle()
    assert result.resumed
    missing = FRAMES - kept
    assert missing * FRAME_BYTES <= result.wire_bytes <= missing * (FRAME_BYTES + CHUNK_LINE + 2)
    assert pair.matches(result.cycle)
    assert [point.id for point in pair.target.points()] == [result.cycle]


@pytest.mark.parametrize("position", [0, 1, 30])
def test_an_answer_to_all_frames_that_got_lost_costs_none_of_them(pair: Linked, position: int) -> None:
    pair.proxy.answers = cut_at(position, streams=True)
    with pytest.raises(LinkError):
        pair.cycle()
    wait_until(lambda: pair.held() == FRAMES, 10)
    result = pair.cycle()
    assert (result.resumed, result.wire_bytes) == (True, 0)
    assert pair.matches(result.cycle)


@pytest.mark.parametrize("word", [b"POST /v1/vms/vm/cycles HTTP", b"/commit HTTP"])
@pytest.mark.parametrize("answered", [False, True])
def test_a_message_that_got_lost_is_repeated(pair: Linked, word: bytes, answered: bool) -> None:
    """Lost on its way there, or its answer on the way back: nobody knows which."""
    once: list[bool] = []

    def edit(talk: Conversation, _: int, part: bytes) -> bytes:
        if once or word not in talk.asked:
            return part
        once.append(True)
        raise Cut

    pair.proxy.answers, pair.proxy.requests = (edit, unchanged) if answered else (unchanged, edit)
    with pytest.raises(LinkError):
        pair.cycle()
    result = pair.cycle()
    assert once
    assert pair.matches(result.cycle)
    assert len(pair.target.points()) == 1
    if b"commit" in word:
        assert result.wire_bytes == 0


@pytest.mark.parametrize(
    ("first", "then", "position"),
    [(Compression.Auto, Compression.Off, 5000), (Compression.Off, Compression.Auto, in_frame(1, 40))],
)
def test_it_does_not_matter_how_what_is_held_came(
    pair: Linked, first: Compression, then: Compression, position: int
) -> None:
    clients = [pair.client_through(compression) for compression in (first, then)]
    for client in clients:
        # As if the link had been measured, and is slow.
        client.link.speed.note(8 << 20, 1.0)
    pair.proxy.requests = cut_of_stream(position)
    with pytest.raises(LinkError):
        pair.source.run_cycle(clients[0])
    wait_until(lambda: pair.held() >= 1, 10)
    held = pair.held()
    assert held < FRAMES
    pair.proxy.requests = unchanged
    # A new process reads what an earlier one took.
    pair.restart_target()
    assert pair.held() == held
    result = pair.source.run_cycle(clients[1])
    assert result.resumed
    assert (result.wire_bytes < BLOCK) is (then is Compression.Auto)
    assert pair.matches(result.cycle)
