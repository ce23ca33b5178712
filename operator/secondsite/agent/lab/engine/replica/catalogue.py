"""The truth about a replica: an append-only log, one line per event, each with its CRC, durable before it counts."""

import contextlib
import os
import zlib
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import msgspec

from secondsite.agent.lab.engine.durable import sync_directory, write_all
from secondsite.agent.lab.engine.errors import StoreDamaged
from secondsite.agent.lab.engine.replica.correction import single_byte_corrections
from secondsite.wire.peer import Consistency, CycleKind, DiskPlan

_LONGEST_CORRECTED = 1 << 17
# A disk that dies must not fill the log with the numbers of its blocks.
MAX_LISTED_BLOCKS = 4096
# Of the whole store: lines and files.
FORMAT_VERSION = 1


class Event(msgspec.Struct, frozen=True, kw_only=True, tag=True, tag_field="event"):
    """One line of the catalogue."""


class Founded(Event, frozen=True):
    """Whose replica the folder holds, and in which format: the first line."""

    vm: str
    version: int = FORMAT_VERSION


class Opened(Event, frozen=True):
    """A cycle began; it replaces the one that was open."""

    cycle: str
    parent: str | None
    generation: int
    freeze_time: datetime
    kind: CycleKind
    disks: dict[str, DiskPlan]
    consistency: Consistency = Consistency.CrashConsistent


class Committed(Event, frozen=True):
    """The open cycle became a recovery point: one line for all disks of the VM. `sizes` are those of the disks.

    `stale` is true of an adopted disk (kind Seed) that differs from what its name says: never offered as a point.
    """

    point: str
    generation: int
    kind: CycleKind
    freeze_time: datetime
    durable_time: datetime
    bytes: int
    sizes: dict[str, int]
    consistency: Consistency = Consistency.CrashConsistent
    stale: bool = False
    parent: str | None = None
    """The point that the sender built on: it may know of no newer one yet, and retention may have merged it here."""


class Unchanged(Event, frozen=True):
    """Nothing had changed at the source since the newest point: that is the point of this later time, too."""

    point: str
    freeze_time: datetime
    durable_time: datetime


class Promoted(Event, frozen=True):
    """The replica became the primary in `generation`, from `point`: whoever sends with an older one is stale."""

    point: str
    clone: str
    generation: int


class PromotionCancelled(Event, frozen=True):
    """It did not: the failover was cancelled, and the former primary goes on."""


class Damaged(Event, frozen=True):
    """All that is known to be damaged in one stored file: `layer` is its point, None the base.

    It replaces what was said of the file before; no block, and it is whole again. `unlisted` counts damaged blocks
    beyond `MAX_LISTED_BLOCKS`.
    """

    disk: str
    layer: str | None
    blocks: tuple[int, ...]
    unlisted: int = 0


class Merging(Event, frozen=True):
    """The point is offered no more; its layers go into those of `into`, or into the base (None)."""

    point: str
    into: str | None


class Merged(Event, frozen=True):
    """The layers of the point are not needed any more. `damage` is that of the files which took its blocks up."""

    point: str
    bytes: int
    damage: tuple[Damaged, ...] = ()


class Cloned(Event, frozen=True):
    clone: str
    point: str


class CloneDropped(Event, frozen=True):
    clone: str


AnyEvent = (
    Founded
    | Opened
    | Committed
    | Unchanged
    | Merging
    | Merged
    | Cloned
    | CloneDropped
    | Damaged
    | Promoted
    | PromotionCancelled
)

_decoder: msgspec.json.Decoder[AnyEvent] = msgspec.json.Decoder(AnyEvent)


def encode_line(event: Event) -> bytes:
    body = msgspec.json.encode(event)
    return b"%08x %s\n" % (zlib.crc32(body), body)


def decode_line(line: bytes) -> AnyEvent | None:
    """None when the line is torn or damaged. StoreDamaged when it is whole and says what is not known here."""
    if len(line) < 10 or not line.endswith(b"\n"):
        return None
    body = line[9:-1]
    if line[:9] != b"%08x " % zlib.crc32(body):
        return None
    try:
        return _decoder.decode(body)
    except msgspec.DecodeError as error:
        raise StoreDamaged(
            f"the line {body[:200]!r} is not known here ({error}); use the agent that wrote it"
        ) from error


class Catalogue:
    """Reads the log once, then appends to it. Not thread-safe: the store's lock guards it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.events, length = _read(path)
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
        # A torn last line was never promised to anybody.
        os.ftruncate(self._fd, length)
        os.fdatasync(self._fd)
        sync_directory(path.parent)
        self._length = length
        # The name may still be another file's after a power cut.
        self._nameless = False
        self._closed = False
        # What a failed append left may still stand behind `_length`.
        self._soiled = False

    def append(self, event: Event) -> None:
        """Durable when it returns; after an OSError it did not happen."""
        line = encode_line(event)
        self._take_up()
        self._sync_name()
        self._cut()
        try:
            write_all(self._fd, line, self._length)
            os.fdatasync(self._fd)
        except OSError:
            self._soiled = True
            with contextlib.suppress(OSError):
                self._cut()
            raise
        self._length += len(line)

    def rewrite(self, events: Sequence[Event]) -> None:
        """Replace the log by a shorter one that says the same. After an OSError it is one of the two."""
        content = b"".join(encode_line(event) for event in events)
        temporary = self._path.with_name(self._path.name + ".tmp")
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            write_all(fd, content)
            os.fdatasync(fd)
            temporary.replace(self._path)
        except OSError:
            os.close(fd)
            raise
        # At once: what is appended to a file that has no name any more is lost.
        self._let_go()
        self._fd, self._length, self._nameless, self._soiled = fd, len(content), True, False
        self._sync_name()

    def rest(self) -> None:
        """Let go of the file until the next line."""
        if not self._soiled:
            self._let_go()

    def _let_go(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _take_up(self) -> None:
        if self._fd < 0 and not self._closed:
            self._fd = os.open(self._path, os.O_WRONLY)

    def _cut(self) -> None:
        """A shorter line over the rest of a longer one would leave a line that nobody can read."""
        if self._soiled:
            os.ftruncate(self._fd, self._length)
            self._soiled = False

    def _sync_name(self) -> None:
        if self._nameless:
            sync_directory(self._path.parent)
            self._nameless = False

    def close(self) -> None:
        """A late append fails instead of meeting another file under the old number."""
        self._let_go()
        self._closed = True


def _read(path: Path) -> tuple[list[AnyEvent], int]:
    """The valid events and how many bytes they take. StoreDamaged when a bad line was not merely cut short."""
    if not path.exists():
        return [], 0
    events: list[AnyEvent] = []
    length = 0
    lines = split_lines(path.read_bytes())
    for number, line in enumerate(lines):
        event = decode_line(line)
        if event is None:
            if not is_torn(lines, number):
                raise StoreDamaged(
                    f"{path}, line {number + 1} is damaged: stop the agent and run `secondsite agent store repair "
                    f"{path.parent}`; where that cannot mend it, replicate anew"
                )
            break
        events.append(event)
        length += len(line)
    return events, length


def split_lines(content: bytes) -> list[bytes]:
    """The lines of a log, each with its end."""
    return [line + b"\n" for line in content.split(b"\n")[:-1]] + [rest for rest in [content.split(b"\n")[-1]] if rest]


def is_torn(lines: Sequence[bytes], number: int) -> bool:
    """Whether a bad line and all after it can be what a power cut leaves of one write: a piece of it, or zeros.

    A line that came whole and does not fit its CRC was promised once; cutting it would forget a recovery point.
    """
    rest = lines[number:]
    if any(decode_line(line) is not None for line in rest) or correct_line(b"".join(rest)) is not None:
        return False
    return all(b"\0" in line or not line.endswith(b"\n") for line in rest)


def correct_line(line: bytes) -> bytes | None:
    """The line as it was before one of its bytes changed; None where no, or no single, change explains it."""
    if len(line) < 11 or len(line) > _LONGEST_CORRECTED:
        return None
    body = line[9:-1]
    found = [b"%08x " % zlib.crc32(body) + body + b"\n"]
    with contextlib.suppress(ValueError):
        found += [line[:9] + text + b"\n" for text in single_byte_corrections(body, int(line[:8], 16))]
    fitting = {text for text in found if _differences(text, line) == 1 and _decodes(text)}
    return fitting.pop() if len(fitting) == 1 else None


def _differences(one: bytes, other: bytes) -> int:
    return sum(a != b for a, b in zip(one, other, strict=True))


def _decodes(line: bytes) -> bool:
    try:
        return decode_line(line) is not None
    except StoreDamaged:
        return False
