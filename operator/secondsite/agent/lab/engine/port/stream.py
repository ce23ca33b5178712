"""A transfer of frames under way, and how answers are read."""

import threading
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import msgspec

from secondsite.agent.lab.engine.errors import FramesMissing, HeadConflict, LinkError, PeerRefused, StaleGeneration
from secondsite.agent.lab.engine.port.bucket import TokenBucket
from secondsite.agent.lab.engine.port.channel import Channel
from secondsite.agent.lab.engine.port.codec import LinkSpeed
from secondsite.agent.lab.engine.port.frames import BuiltFrame
from secondsite.wire.peer import MAX_MESSAGE_BYTES, FramesHeld, Message, Problem

Answer = TypeVar("Answer", bound=Message)
Sent = Callable[[int, int], None]

# Whatever the network did to our bytes, sending them again may help.
_RETRY_CODES = frozenset({"CorruptFrame", "BadMessage", "Superseded"})


class FrameStream:
    """A PUT under way."""

    def __init__(self, channel: Channel, speed: LinkSpeed) -> None:
        self._channel = channel
        self._speed = speed
        self._sending_seconds = 0.0

    def send(self, frame: BuiltFrame, bucket: TokenBucket, stop: threading.Event, sent: Sent) -> None:
        """Send one frame as one chunk, slice by slice as the bucket allows. An early answer is raised as its error.

        `sent` hears of each slice: bytes of blocks, bytes on the wire. Together the former are the frame's data blocks.
        """
        self._sending_seconds = 0.0
        head = b"%x\r\n" % frame.size + frame.head
        self._send_piece(head, bucket, stop)
        sent(0, len(head))
        reported, stored, size = 0, 0, frame.payload_size
        for part in _slices(frame.payload, bucket):
            self._send_piece(part, bucket, stop)
            stored += len(part)
            held = frame.raw_bytes * stored // size
            sent(held - reported, len(part))
            reported = held
        self._send_piece(b"\r\n", bucket, stop)
        sent(0, len(b"\r\n"))
        self._note_speed(len(head) + size)

    def _note_speed(self, count: int) -> None:
        try:
            rate = self._channel.delivery_rate()
        except OSError:
            self._speed.note(count, self._sending_seconds)
            return
        if rate is not None:
            self._speed.note(count, count / rate)

    def _send_piece(self, piece: bytes | memoryview, bucket: TokenBucket, stop: threading.Event) -> None:
        bucket.take(len(piece), stop)
        if self._channel.answer_waits():
            self.finish_early()
        started = time.monotonic()
        self._channel.send(piece)
        self._sending_seconds += time.monotonic() - started

    def finish_early(self) -> None:
        read_answer(self._channel, FramesHeld)
        raise LinkError("the other side ended the transfer before its end")

    def finish(self) -> int:
        """End the body; how many frames the other side holds durably now."""
        return self.end(FramesHeld).have

    def end(self, answer: type[Answer]) -> Answer:
        """End the body and read the answer."""
        self._channel.send(b"0\r\n\r\n")
        return read_answer(self._channel, answer)


def _slices(payload: list[memoryview], bucket: TokenBucket) -> Iterator[memoryview]:
    """What to ask the bucket for at a time; its rate may change meanwhile."""
    for piece in payload:
        start = 0
        while start < len(piece):
            part = piece[start : start + bucket.slice_bytes]
            yield part
            start += len(part)


def read_answer(channel: Channel, answer: type[Answer]) -> Answer:
    """The answer to a request, or its problem as an error."""
    return _decode(read_bytes(channel), answer)


def read_bytes(channel: Channel) -> bytes:
    """The body of the answer to a request, or its problem as an error."""
    start, headers = channel.read_head()
    body = channel.read_body(headers, MAX_MESSAGE_BYTES)
    words = start.split(" ", 2)
    if len(words) >= 2 and words[1] in {"200", "201"}:
        return body
    raise _error_of(_decode(body, Problem))


def _decode(body: bytes, answer: type[Answer]) -> Answer:
    try:
        return msgspec.json.decode(body, type=answer)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise LinkError(f"answer {body[:80]!r} cannot be read as {answer.__name__}: {error}") from error


def _error_of(problem: Problem) -> Exception:
    if problem.code in _RETRY_CODES:
        return LinkError(f"the other side ended the transfer: {problem.code}, {problem.detail}")
    if problem.code == "HeadConflict":
        return HeadConflict(problem.head, problem.detail)
    if problem.code == "StaleGeneration":
        return StaleGeneration(problem.generation, problem.detail)
    if problem.code == "FramesMissing" and problem.have is not None:
        return FramesMissing(problem.have, problem.detail)
    return PeerRefused(problem.status, problem.code, problem.detail)
