from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secondsite.agent.lab.engine import CycleKind, StoreDamaged
from secondsite.agent.lab.engine.replica.catalogue import (
    AnyEvent,
    Catalogue,
    Cloned,
    CloneDropped,
    Committed,
    Merged,
    Merging,
    decode_line,
    encode_line,
)
from secondsite.agent.lab.engine.replica.contents import fold
from support.engine_pair import START

EVENTS: list[AnyEvent] = [Cloned(clone=f"c{number}", point="p") for number in range(5)]


def filled(path: Path) -> bytes:
    catalogue = Catalogue(path)
    for event in EVENTS:
        catalogue.append(event)
    catalogue.close()
    return path.read_bytes()


def reopened(path: Path) -> list[AnyEvent]:
    catalogue = Catalogue(path)
    catalogue.close()
    return catalogue.events


def test_a_log_torn_at_any_byte_keeps_every_whole_line_and_can_be_continued(tmp_path: Path) -> None:
    path = tmp_path / "log"
    whole = filled(path)
    for length in range(len(whole) + 1):
        path.write_bytes(whole[:length])
        catalogue = Catalogue(path)
        assert catalogue.events == EVENTS[: whole[:length].count(b"\n")]
        catalogue.append(CloneDropped(clone="last"))
        catalogue.close()
        assert reopened(path)[-1] == CloneDropped(clone="last")


def test_a_log_that_ends_in_zeros_is_cut(tmp_path: Path) -> None:
    whole = filled(tmp_path / "log")
    (tmp_path / "log").write_bytes(whole + bytes(300))
    assert reopened(tmp_path / "log") == EVENTS


def test_damage_in_the_middle_is_said_not_cut(tmp_path: Path) -> None:
    path = tmp_path / "log"
    whole = bytearray(filled(path))
    whole[len(whole) // 2] ^= 1
    path.write_bytes(whole)
    with pytest.raises(StoreDamaged, match="line 3"):
        Catalogue(path)


def test_a_rewritten_log_says_only_what_it_was_given(tmp_path: Path) -> None:
    path = tmp_path / "log"
    filled(path)
    catalogue = Catalogue(path)
    catalogue.rewrite(EVENTS[:1])
    catalogue.append(EVENTS[4])
    catalogue.close()
    assert reopened(path) == [EVENTS[0], EVENTS[4]]


@given(position=st.integers(0, 200), bit=st.integers(0, 7))
def test_no_flipped_bit_of_a_line_goes_unnoticed(position: int, bit: int) -> None:
    line = bytearray(encode_line(Merged(point="p1", bytes=12)))
    line[position % len(line)] ^= 1 << bit
    assert decode_line(bytes(line)) is None


def committed(point: str) -> Committed:
    return Committed(
        point=point,
        generation=1,
        kind=CycleKind.Delta,
        freeze_time=START,
        durable_time=START,
        bytes=1,
        sizes={"a": 1},
    )


def test_the_shortest_log_amounts_to_the_same() -> None:
    events: list[AnyEvent] = [
        *(committed(f"p{number}") for number in range(4)),
        Cloned(clone="c1", point="p2"),
        Cloned(clone="c2", point="p2"),
        CloneDropped(clone="c1"),
        Merging(point="p0", into=None),
        Merged(point="p0", bytes=0),
        Merging(point="p1", into="p2"),
        Merged(point="p1", bytes=7),
        Merging(point="p2", into="p3"),
    ]
    contents = fold(events)
    assert [entry.point for entry in contents.points] == ["p2", "p3"]
    assert contents.points[0].bytes == 7
    assert contents.clones == {"c2": "p2"}
    again = fold([event for event in contents.events() if isinstance(event, AnyEvent)])
    assert again == contents
