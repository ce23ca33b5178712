"""Answers changed on the way back, where TLS would have caught them: the source believes nothing wrong."""

import contextlib
import itertools
import threading
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from secondsite.agent.lab.engine import Compression, EngineError, LinkError
from support.engine_pair import BLOCK, Pair, pattern
from support.engine_proxy import Conversation, Cut, Proxy
from support.engine_soak import wait_until

# One pair of engines serves every example; the examples differ from run to run.
FEWER = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


SIZES = {"a": 130 * BLOCK}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with Pair(tmp_path_factory.mktemp("pair"), SIZES) as pair:
        yield pair


@contextlib.contextmanager
def answers_changed(pair: Pair, edit: Callable[[Conversation, int, bytes], bytes]) -> Iterator[None]:
    with Proxy(pair.server.port, answers=edit) as proxy:
        clean = pair.client
        pair.client = type(clean)(
            "127.0.0.1", proxy.port, None, bucket=pair.bucket, timeout_seconds=2, compression=Compression.Off
        )
        try:
            yield
        finally:
            pair.client = clean


numbers = itertools.count()


def guest_writes(pair: Pair) -> None:
    for block in (0, 64, 129):
        pair.disks["a"].write(block * BLOCK, pattern(next(numbers)))


@FEWER
@given(
    connection=st.integers(0, 3),
    at=st.integers(0, 300),
    change=st.one_of(st.integers(1, 255), st.binary(min_size=1, max_size=3), st.none()),
)
def test_a_damaged_answer_makes_the_source_believe_nothing_wrong(
    pair: Pair, connection: int, at: int, change: int | bytes | None
) -> None:
    """A byte of an answer is changed, bytes are put in, or (None) the rest is lost."""

    def edit(talk: Conversation, offset: int, part: bytes) -> bytes:
        place = at - offset
        if talk.number != connection or not 0 <= place < len(part):
            return part
        if change is None:
            raise Cut(part[:place])
        middle = change + part[place : place + 1] if isinstance(change, bytes) else bytes([part[place] ^ change])
        return part[:place] + middle + part[place + 1 :]

    guest_writes(pair)
    truth = {}
    before = pair.disks["a"].read(0, SIZES["a"])
    with answers_changed(pair, edit), contextlib.suppress(EngineError):
        truth[pair.cycle().cycle] = before
    opened = pair.source.open_cycle
    if opened is not None:
        truth[opened.cycle] = before
    guest_writes(pair)
    after = pair.disks["a"].read(0, SIZES["a"])
    result = pair.cycle()
    truth.setdefault(result.cycle, after)
    points = {point.id for point in pair.target.points()}
    assert result.cycle in points
    assert not pair.source.progress().pending_bytes or result.cycle == (opened and opened.cycle)
    for cycle in points & set(truth):
        assert pair.target.read_point(cycle, "a", 0, SIZES["a"]) == truth[cycle]


def fill(pair: Pair) -> None:
    for block in range(SIZES["a"] // BLOCK):
        pair.disks["a"].write(block * BLOCK, pattern(next(numbers)))


def test_an_acknowledgement_of_what_was_never_sent_is_not_believed(pair: Pair) -> None:
    """Else a guest's write would get into the image of an instant before it."""
    fill(pair)
    before = pair.disks["a"].read(0, SIZES["a"])
    told = threading.Event()

    def inflate(_: Conversation, _offset: int, part: bytes) -> bytes:
        if b'"open":{' in part and b'"have":{"a":' in part:
            told.set()
            at = part.index(b'"have":{"a":') + len(b'"have":{"a":')
            return part[:at] + b"3" + part[at + 1 :]
        return part

    pair.bucket.rate = 4 << 20
    with answers_changed(pair, inflate), pytest.raises(LinkError, match="3 frames"):
        pair.cycle()
    pair.bucket.rate = None
    assert told.is_set()
    opened = pair.source.open_cycle
    assert opened is not None
    fill(pair)
    result = pair.cycle()
    assert (result.cycle, result.resumed) == (opened.cycle, True)
    assert pair.target.read_point(result.cycle, "a", 0, SIZES["a"]) == before
    assert pair.matches(pair.cycle().cycle)


def test_a_cycle_that_was_opened_with_an_inflated_word_is_not_committed(pair: Pair) -> None:
    """The source skips what it is told is there; the commit finds out, and the next run takes a new image."""
    fill(pair)

    def inflate(_: Conversation, _offset: int, part: bytes) -> bytes:
        return part.replace(b'{"have":{"a":0}', b'{"have":{"a":3}')

    count = len(pair.target.points())
    with answers_changed(pair, inflate), pytest.raises(LinkError, match="lacks frames"):
        pair.cycle()
    assert len(pair.target.points()) == count
    fill(pair)
    assert pair.matches(pair.cycle().cycle)


def test_a_commit_is_not_taken_from_a_head_that_was_misread(pair: Pair) -> None:
    """The answer says that the open cycle is the newest point already: it is asked to commit all the same."""
    fill(pair)
    before = pair.disks["a"].read(0, SIZES["a"])
    opened: list[bytes] = []

    def edit(talk: Conversation, _: int, part: bytes) -> bytes:
        if b'{"have":' not in part or b"/cycles HTTP" not in talk.asked:
            return part
        cycle = bytes(talk.asked).partition(b'"cycle":"')[2].partition(b'"')[0]
        opened.append(cycle)
        body = b'{"status":409,"code":"HeadConflict","detail":"","head":"%b"}' % cycle
        return b"HTTP/1.1 409 Problem\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)

    with answers_changed(pair, edit), pytest.raises(LinkError, match="lacks frames"):
        pair.cycle()
    assert opened
    wait_until(lambda: pair.target.status().open is not None, 5)
    assert pair.target.read_point(pair.cycle().cycle, "a", 0, SIZES["a"]) == before
