"""A catalogue with damaged lines made whole again: only where nothing else than what it says then can have stood there.

One changed byte is found with the help of the line's CRC. A line that is beyond that may still be told by its kind and
by the lines and files around it. A lost `Committed` cannot be: nobody else knows the time of its freeze.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from secondsite.agent.lab.engine.errors import EngineError
from secondsite.agent.lab.engine.replica.catalogue import (
    AnyEvent,
    CloneDropped,
    Committed,
    Merged,
    Merging,
    correct_line,
    decode_line,
    encode_line,
    is_torn,
    split_lines,
)
from secondsite.agent.lab.engine.replica.contents import Contents, fold

_KIND = re.compile(rb'"event":"([A-Za-z]+)"')
# Where a line may have begun whose predecessor lost its end.
_BEGINNING = re.compile(rb"(?s).(?=[0-9a-f]{8} \{)")


@dataclass(frozen=True, slots=True)
class Around:
    """What the files beside the catalogue say."""

    has_layers: Callable[[str], bool]
    """Of a point: whether any disk has a layer file of it."""
    has_clone: Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class Restored:
    """The events in order; `torn_bytes` of an unfinished line at the end; how each damaged line was explained."""

    events: list[AnyEvent]
    torn_bytes: int
    explained: list[str]


class BeyondRepair(EngineError):
    """Something stood in the catalogue of which nobody knows any more what it was."""


def restore(content: bytes, around: Around) -> Restored:
    """Every event of a log. BeyondRepair, with the reason, where one of them is anybody's guess."""
    lines = split_lines(content)
    events: list[AnyEvent] = []
    explained: list[str] = []
    number = 0
    while number < len(lines):
        event = decode_line(lines[number])
        if event is not None:
            events.append(event)
            number += 1
        elif is_torn(lines, number):
            return _folded(events, sum(len(line) for line in lines[number:]), explained)
        else:
            found, used, text = _explain(lines, number, events, around)
            events += found
            explained.append(f"line {number + 1}: {text}")
            number += used
    return _folded(events, 0, explained)


def _folded(events: list[AnyEvent], torn: int, explained: list[str]) -> Restored:
    try:
        fold(events)
    except EngineError as error:
        raise BeyondRepair(f"its lines contradict each other: {error}") from error
    return Restored(events, torn, explained)


def _explain(
    lines: list[bytes], number: int, before: list[AnyEvent], around: Around
) -> tuple[list[AnyEvent], int, str]:
    """Events for damaged lines from `number` on, how many lines they are, and why so."""
    for used in (1, 2):
        whole = correct_line(b"".join(lines[number : number + used]))
        event = decode_line(whole) if whole else None
        if event is not None:
            return [event], used, "one byte had changed, its checksum says which"
    for place in _BEGINNING.finditer(lines[number]):
        parts = lines[number][: place.start()] + b"\n", lines[number][place.end() :]
        first, second = (decode_line(part) for part in parts)
        if first is not None and second is not None:
            return [first, second], 1, "the end of a line had changed"
    later = [event for line in lines[number + 1 :] if (event := decode_line(line)) is not None]
    return _by_kind(lines[number], number, before, later, around), 1, "told by what stands around it"


def _by_kind(line: bytes, number: int, before: list[AnyEvent], later: list[AnyEvent], around: Around) -> list[AnyEvent]:
    found = _KIND.search(line)
    kind = found[1].decode() if found else "of an unknown kind"
    contents = fold(before)
    if kind in ("Founded", "Damaged", "Unchanged") or (
        kind == "Opened" and any(isinstance(event, Committed) for event in later)
    ):
        # The next start says again whose it is, a scrub finds damage again; a point without its later time is only as
        # old as it was; a cycle committed or replaced since then needs no opening.
        return []
    if kind == "Merging":
        return _merging(contents, later)
    if kind == "Merged" and contents.merging is not None and not around.has_layers(contents.merging.point):
        return [Merged(point=contents.merging.point, bytes=0)]
    if kind == "CloneDropped":
        gone = [clone for clone in contents.clones if not around.has_clone(clone)]
        if len(gone) == 1:
            return [CloneDropped(clone=gone[0])]
    raise BeyondRepair(
        f"line {number + 1}, {kind}, is damaged in more than one byte, and neither the other lines nor the files say "
        "what stood there"
    )


def _merging(contents: Contents, later: list[AnyEvent]) -> list[AnyEvent]:
    """One that ended is known by its end; one that did not has changed nothing that anybody sees."""
    ended = next((event for event in later if isinstance(event, Merged | Merging)), None)
    if not isinstance(ended, Merged):
        return []
    position = contents.position(ended.point)
    into = contents.points[position + 1].point if position else None
    return [Merging(point=ended.point, into=into)]


def encode(events: list[AnyEvent]) -> bytes:
    return b"".join(encode_line(event) for event in events)
