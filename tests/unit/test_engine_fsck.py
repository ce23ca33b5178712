"""`secondsite agent store check|repair`: everything wrong in a store is listed and explained; nothing is destroyed."""

import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from secondsite.agent.lab.engine import Stopped, StoreDamaged, StoreLocked, TargetStore
from secondsite.agent.lab.engine.check import fsck
from secondsite.agent.lab.engine.replica.catalogue import (
    CloneDropped,
    Committed,
    Damaged,
    Founded,
    Merging,
    Opened,
    decode_line,
    split_lines,
)
from secondsite.cli.agent import agent
from support.engine_damage import SIZES, Truth, cycles, damage_block, disk_folder, flip, layer_path
from support.engine_pair import BLOCK, Pair, pattern


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with Pair(tmp_path, SIZES) as pair:
        yield pair


@pytest.fixture
def truth(pair: Pair) -> Truth:
    """Four points, the oldest in the base, two clones of which one is dropped, one point merged into the next."""
    truth = cycles(pair, 6)
    for number in (0, 2):
        pair.target.merge(truth.points[number])
    for number in (2, 0):
        truth.forget(truth.points[number])
    for clone in ("kept", "dropped"):
        pair.target.clone(truth.points[0], clone).close()
    pair.target.drop_clone("dropped")
    pair.target.close()
    return truth


def root(pair: Pair) -> Path:
    return pair.folder / "target"


def run(verb: str, folder: Path) -> Result:
    return CliRunner().invoke(agent, ["store", verb, str(folder)])


def opened(pair: Pair, truth: Truth) -> bool:
    """Open the store and compare every point with the truth."""
    pair._open_target()
    whole = all(
        pair.target.read_point(point, name, 0, size) == truth.image(point)[name]
        for point in truth.points
        for name, size in SIZES.items()
    )
    named = [point.id for point in pair.target.points()]
    pair.target.close()
    return whole and named == truth.points


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_whole_store_is_clean_and_stays_as_it_is(pair: Pair, truth: Truth) -> None:
    before = snapshot(root(pair))
    result = run("check", pair.folder)
    assert result.exit_code == 0, result.output
    assert "4 recovery points" in result.output
    assert "clean" in result.output
    assert run("repair", pair.folder).exit_code == 0
    assert snapshot(root(pair)) == before


def test_a_store_in_use_is_left_alone(pair: Pair) -> None:
    cycles(pair, 1)
    with pytest.raises(StoreLocked, match="running agent"):
        fsck.check(root(pair))
    result = run("repair", pair.folder)
    assert result.exit_code == 2
    assert "running agent" in result.output


def test_nothing_there_is_said(tmp_path: Path) -> None:
    result = run("check", tmp_path)
    assert result.exit_code == 2
    assert "no store" in result.output


def strays(pair: Pair) -> list[Path]:
    folder = root(pair)
    return [
        folder / "disks/a/layers/x.lay",
        folder / "disks/a/layers/y.tmp",
        folder / "disks/a/incoming/x.part",
        folder / "disks/zombie/base.raw",
        folder / "clones/x/a.raw",
        folder / "catalog.log.tmp",
    ]


def test_strays_are_put_aside_not_removed(pair: Pair, truth: Truth) -> None:
    for number, path in enumerate(strays(pair)):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(pattern(number))
    assert len(fsck.check(root(pair)).findings) == 6
    result = run("repair", root(pair))
    assert result.exit_code == 1
    assert "FOUND" not in result.output
    for number, path in enumerate(strays(pair)):
        assert not path.exists()
        assert (root(pair) / "lost+found" / path.relative_to(root(pair))).read_bytes() == pattern(number)
    assert fsck.check(root(pair)).clean
    assert opened(pair, truth)
    assert (root(pair) / "lost+found").exists()


def test_damaged_blocks_are_named_with_the_points_that_see_them(pair: Pair, truth: Truth) -> None:
    damage_block(pair, truth.points[1], 3)
    flip(disk_folder(pair) / "base.raw", 10)
    report = fsck.check(root(pair))
    texts = [f"{finding.where.name}: {finding.what}" for finding in report.findings]
    assert f"{truth.points[1]}.lay: 1 blocks of 64 KiB do not fit their digests: 3" in texts
    assert "base.raw: content, BLAKE3 and XXH3 of 1 blocks of 64 KiB disagree: 0" in texts
    assert sum("recovery point" in text for text in texts) == 4
    result = run("repair", root(pair))
    assert result.exit_code == 1
    assert "FOUND" in result.output
    # Repair has remembered it: the running agent asks the source.
    pair._open_target()
    assert pair.target.status().wanted == {"a": (0, 3)}
    pair.cycle()
    assert not any(point.damaged for point in pair.target.points())
    pair.target.close()
    assert fsck.check(root(pair)).clean


BREAKS: dict[str, Callable[[Pair, Truth], None]] = {
    "a digest": lambda pair, _: flip(disk_folder(pair) / "base.hashes", 2),
    "a hash": lambda pair, _: flip(disk_folder(pair) / "base.xxh3", 2),
    "all digests": lambda pair, _: (disk_folder(pair) / "base.hashes").unlink(),
    "an index": lambda pair, truth: flip(layer_path(pair, truth.points[0]), -100),
    "a trailer": lambda pair, truth: flip(layer_path(pair, truth.points[3]), -1),
    "a frame's head": lambda pair, truth: flip(layer_path(pair, truth.points[3]), 20),
    "a torn line": lambda pair, _: append(root(pair) / "catalog.log", b'12345678 {"event":"Clo'),
    "a line": lambda pair, _: flip(root(pair) / "catalog.log", 200),
    "the last line": lambda pair, _: flip(root(pair) / "catalog.log", -20),
    "the last line's end": lambda pair, _: flip(root(pair) / "catalog.log", -1),
    "a line's end": lambda pair, _: flip(root(pair) / "catalog.log", first_end(pair)),
    "a new line's end": lambda pair, _: flip(root(pair) / "catalog.log", 100, ord('"') ^ ord("\n")),
}


def append(path: Path, content: bytes) -> None:
    with path.open("ab") as file:
        file.write(content)


def first_end(pair: Pair) -> int:
    return (root(pair) / "catalog.log").read_bytes().index(b"\n")


@pytest.mark.parametrize("what", list(BREAKS))
def test_what_the_store_can_mend_is_mended(pair: Pair, truth: Truth, what: str) -> None:
    BREAKS[what](pair, truth)
    before = snapshot(root(pair))
    result = run("check", root(pair))
    assert result.exit_code == 1, result.output
    assert snapshot(root(pair)) == before
    result = run("repair", root(pair))
    assert "FOUND" not in result.output, result.output
    assert fsck.check(root(pair)).clean
    assert opened(pair, truth)


def test_a_line_of_more_than_one_damaged_byte_is_told_by_what_stands_around_it(pair: Pair, truth: Truth) -> None:
    log = root(pair) / "catalog.log"
    whole = log.read_bytes()
    for number, line in enumerate(split_lines(whole)):
        event = decode_line(line)
        lines = split_lines(whole)
        lines[number] = line[:40] + b"###" + line[43:]
        log.write_bytes(b"".join(lines))
        report = fsck.repair(root(pair))
        if isinstance(event, Opened | Merging | Damaged | CloneDropped) or "Merged" in str(type(event)):
            assert all(finding.repaired for finding in report.findings), report
            assert opened(pair, truth)
        elif isinstance(event, Founded):
            assert "whose replica" in report.findings[-1].what
            assert opened(pair, truth)
            assert fsck.check(root(pair)).clean
        else:
            assert not report.clean
            assert "is damaged in more than one byte" in report.findings[0].what
            with pytest.raises(StoreDamaged, match="agent store repair"):
                TargetStore(root(pair), "vm")
            assert isinstance(event, Committed) or "Cloned" in str(type(event))
        log.write_bytes(whole)
    assert opened(pair, truth)


def test_a_catalogue_that_is_gone_is_refused(pair: Pair, truth: Truth) -> None:
    log = root(pair) / "catalog.log"
    content = log.read_bytes()
    log.unlink()
    before = snapshot(root(pair))
    assert "catalogue cannot be read" in fsck.repair(root(pair)).findings[0].what
    assert snapshot(root(pair)) == before
    log.write_bytes(content)
    assert opened(pair, truth)


def test_missing_files_are_named(pair: Pair, truth: Truth) -> None:
    layer_path(pair, truth.points[2]).unlink()
    shutil.rmtree(root(pair) / "clones/kept")
    texts = [finding.what for finding in fsck.check(root(pair)).findings]
    assert any("is missing" in text and truth.points[2] in text for text in texts)
    assert "the folder of clone kept is missing" in texts
    assert sum(text.startswith("recovery point") for text in texts) == 2


def test_the_torn_end_of_an_open_cycle_is_told_and_cut(pair: Pair, truth: Truth) -> None:
    pair._open_target()
    stop = threading.Event()
    stop.set()
    pair.disks["a"].write(0, pattern(9))
    with pytest.raises(Stopped):
        pair.cycle(stop)
    pair.target.close()
    (part,) = (disk_folder(pair) / "incoming").iterdir()
    size = part.stat().st_size
    # A whole frame, and not of this cycle: its content is that of a point.
    stray = layer_path(pair, truth.points[-1]).read_bytes()[: 64 + 2 * 32 + 2 * BLOCK]
    append(part, stray)
    (finding,) = fsck.check(root(pair)).findings
    assert (finding.where, finding.what.split()[0]) == (part, str(len(stray)))
    append(part, b"SSfr and no more")
    assert [finding.where for finding in fsck.check(root(pair)).findings] == [part]
    assert all(finding.repaired for finding in fsck.repair(root(pair)).findings)
    assert part.stat().st_size == size
    pair._open_target()
    assert pair.matches(pair.cycle().cycle)
