"""The replica's hashes of its head, kept or read again, over the wire."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from secondsite.agent.lab.engine import HashBasis, PeerRefused
from secondsite.agent.lab.engine.blocks import xxh3
from secondsite.wire.peer import MAX_PAGE_BLOCKS
from support.engine_pair import BLOCK, Pair, pattern

BLOCKS = 200
SIZE = BLOCKS * BLOCK + 4096
DAMAGED = b"\xff" * 16


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with Pair(tmp_path, {"a": SIZE}) as pair:
        for block in (0, 1, 2, 50, 199):
            pair.disks["a"].write(block * BLOCK, pattern(block))
        pair.disks["a"].write(200 * BLOCK, pattern(7, 4096))
        yield pair


def ask(pair: Pair, first: int, count: int, basis: HashBasis, disk: str = "a") -> bytes:
    with pair.client.session() as peer:
        return peer.get_bytes(f"/v1/vms/vm/disks/{disk}/hashes?from={first}&count={count}&basis={basis}")


def expected(pair: Pair) -> bytes:
    content = pair.disks["a"].read(0, SIZE).ljust(201 * BLOCK, b"\0")
    return b"".join(xxh3(content[at : at + BLOCK]) for at in range(0, len(content), BLOCK))


@pytest.mark.parametrize("basis", list(HashBasis))
def test_they_are_those_of_the_head_through_layers_base_and_merges(pair: Pair, basis: HashBasis) -> None:
    points = [pair.cycle().cycle]
    assert ask(pair, 0, 201, basis) == expected(pair)
    for turn in range(1, 5):
        for block in (turn, 50, 100 + turn, 200):
            pair.disks["a"].write(block * BLOCK, bytes(4096) if turn == 3 else pattern(turn * 31 + block, 4096))
        if turn == 4:
            pair.disks["a"].write(50 * BLOCK, bytes(BLOCK))
        points.append(pair.cycle().cycle)
        assert ask(pair, 0, 201, basis) == expected(pair)
    # Into the base, into a successor, and the rest.
    for point in (points[0], points[2], points[1], points[3]):
        pair.target.merge(point)
        assert ask(pair, 0, 201, basis) == expected(pair)
        pair.restart_target()
    assert ask(pair, 40, 70, basis) == expected(pair)[40 * 16 : 110 * 16]


@pytest.mark.parametrize("into_base", [False, True])
def test_a_damaged_block_hashes_to_nothing_when_it_is_read(pair: Pair, into_base: bool) -> None:
    first = pair.cycle().cycle
    pair.disks["a"].write(3 * BLOCK, pattern(99))
    pair.cycle()
    if into_base:
        pair.target.merge(first)
    folder = pair.folder / "target" / "disks" / "a"
    path = folder / "base.raw" if into_base else folder / "layers" / f"{first}.lay"
    stored = bytearray(path.read_bytes())
    stored[stored.index(pattern(50)) + 1000] ^= 1
    path.write_bytes(bytes(stored))
    healthy = expected(pair)
    found = ask(pair, 0, 201, HashBasis.Read)
    assert found == healthy[: 50 * 16] + DAMAGED + healthy[51 * 16 :]
    assert ask(pair, 0, 201, HashBasis.Stored) == healthy


def test_a_damaged_list_does_not_condemn_a_block_that_is_right(pair: Pair) -> None:
    first = pair.cycle().cycle
    pair.disks["a"].write(3 * BLOCK, pattern(99))
    pair.cycle()
    pair.target.merge(first)
    path = pair.folder / "target" / "disks" / "a" / "base.xxh3"
    stored = bytearray(path.read_bytes())
    stored[50 * 16] ^= 1
    path.write_bytes(bytes(stored))
    assert ask(pair, 0, 201, HashBasis.Read) == expected(pair)


@pytest.mark.parametrize("basis", list(HashBasis))
def test_what_a_lost_layer_may_have_held_hashes_to_nothing(pair: Pair, basis: HashBasis) -> None:
    pair.cycle()
    pair.disks["a"].write(3 * BLOCK, pattern(99))
    lost = pair.cycle().cycle
    for block in (5, 50):
        pair.disks["a"].write(block * BLOCK, pattern(123))
    pair.cycle()
    path = pair.folder / "target" / "disks" / "a" / "layers" / f"{lost}.lay"
    path.write_bytes(bytes(path.stat().st_size))
    pair.restart_target()
    healthy, found = expected(pair), ask(pair, 0, 201, basis)
    for block in range(201):
        known = healthy[block * 16 : block * 16 + 16] if block in (5, 50) else DAMAGED
        assert found[block * 16 : block * 16 + 16] == known


def test_without_a_head_there_is_nothing_to_compare_with(pair: Pair) -> None:
    with pytest.raises(PeerRefused, match="NoHead") as refusal:
        ask(pair, 0, 1, HashBasis.Stored)
    assert refusal.value.status == 409


@pytest.mark.parametrize(
    ("first", "count", "disk", "status"),
    [(0, 202, "a", 422), (201, 1, "a", 422), (0, 0, "a", 422), (0, MAX_PAGE_BLOCKS + 1, "a", 422), (0, 1, "b", 404)],
)
def test_no_page_reaches_outside_of_a_disk(pair: Pair, first: int, count: int, disk: str, status: int) -> None:
    pair.cycle()
    with pytest.raises(PeerRefused) as refusal:
        ask(pair, first, count, HashBasis.Stored, disk)
    assert refusal.value.status == status
