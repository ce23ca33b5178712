"""The files of a store against its catalogue: layers, base, parts, clones, and every block against its digest."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from secondsite.agent.lab.engine.blocks import block_count
from secondsite.agent.lab.engine.check.findings import Finding, few
from secondsite.agent.lab.engine.durable import read_into
from secondsite.agent.lab.engine.errors import CorruptFrame, EndOfFile, StoreDamaged
from secondsite.agent.lab.engine.port.frames import FrameReader, cycle_digest
from secondsite.agent.lab.engine.replica.base import BaseImage
from secondsite.agent.lab.engine.replica.catalogue import Opened
from secondsite.agent.lab.engine.replica.clone import private_files
from secondsite.agent.lab.engine.replica.contents import Contents
from secondsite.agent.lab.engine.replica.damage import changed, damaged_points
from secondsite.agent.lab.engine.replica.framing import damaged_heads
from secondsite.agent.lab.engine.replica.layer import Layer, LostLayer
from secondsite.agent.lab.engine.replica.repair import base_intact
from secondsite.agent.lab.engine.replica.salvage import salvage
from secondsite.agent.lab.engine.replica.stored import damaged_in, stored_blocks
from secondsite.wire.peer import BLOCK_BYTES, DIGEST_BYTES

_STEP_BLOCKS = 64
_FROM_PEER = (
    "repair looks for the same block elsewhere in the store; else start the agent: the next cycle brings back what the "
    "source still has; what it has not stays damaged: choose another point"
)


@dataclass
class Examined:
    """What was found, and how many bytes were compared with their digests."""

    findings: list[Finding] = field(default_factory=list)
    bytes: int = 0

    def count(self, count: int) -> None:
        self.bytes += count


@dataclass
class Shelf:
    """The layers of one disk as they are found; for `damaged_points`."""

    name: str
    size: int
    layers: dict[str, Layer] = field(default_factory=dict)

    def layer(self, point: str) -> Layer:
        return self.layers[point]


def examine_files(root: Path, contents: Contents) -> Examined:
    """Everything below `root` that the catalogue names."""
    examined = Examined()
    shelves = {name: Shelf(name, size) for name, size in contents.kept_sizes.items()}
    for name, shelf in shelves.items():
        folder = root / "disks" / name
        for entry in contents.points:
            _examine_layer(folder, entry.point, entry.generation, contents, shelf, examined)
        _examine_base(folder, contents, shelf, examined)
        _examine_part(folder, contents, examined)
    examined.findings += _clones(root, contents)
    for point, text in damaged_points(contents, shelves).items():
        examined.findings.append(
            Finding(root, f"recovery point {point} is damaged: {text}", "those blocks are not served", _FROM_PEER)
        )
    return examined


def _examine_layer(
    folder: Path, point: str, generation: int, contents: Contents, shelf: Shelf, examined: Examined
) -> None:
    path = folder / "layers" / f"{point}.lay"
    layer = _open_layer(path, point, examined)
    shelf.layers[point] = layer
    if layer.lost:
        return
    heads = list(damaged_heads(layer, point, generation))
    if heads:
        examined.findings.append(
            Finding(
                path,
                f"the heads of {len(heads)} frames are damaged",
                "none now: the index vouches for the blocks; but it could not be made again from them",
                "repair writes them anew from the index",
            )
        )
    found = set(damaged_in(layer, examined.count))
    _note(path, shelf.name, point, found, contents, examined)


def _open_layer(path: Path, point: str, examined: Examined) -> Layer:
    try:
        return Layer(path)
    except FileNotFoundError:
        lost = LostLayer(path, f"layer file {path} is missing")
        remedy = "put the file back from lost+found or from a copy; else choose other points"
    except (StoreDamaged, OSError) as error:
        lost, remedy = LostLayer(path, str(error)), _salvage_remedy(path, point)
    what = lost.lost if "missing" in lost.lost else f"index or trailer are damaged: {lost.lost}"
    consequence = f"recovery point {point} and newer ones cannot be read where no newer layer covers it"
    examined.findings.append(Finding(path, what, consequence, remedy))
    return lost


def _salvage_remedy(path: Path, point: str) -> str:
    try:
        with path.open("rb") as file:
            salvage(file.fileno(), path, point)
    except (StoreDamaged, OSError) as error:
        return f"none here ({error}); older points are whole, a resynchronization brings the newest point back"
    return "repair, or the next start of the agent, makes the index again from the frames"


def _examine_base(folder: Path, contents: Contents, shelf: Shelf, examined: Examined) -> None:
    wrong = list(_wrong_sizes(folder, shelf.size)) if contents.points else []
    examined.findings += wrong
    if wrong or not contents.points:
        return
    base = BaseImage(folder, shelf.size, established=True)
    found, total = set(), block_count(shelf.size)
    for first in range(0, total, _STEP_BLOCKS):
        count = min(_STEP_BLOCKS, total - first)
        for block in stored_blocks(base, first, count):
            examined.bytes += BLOCK_BYTES
            if not base_intact(base, block):
                found.add(block)
    _note(folder / "base.raw", shelf.name, None, found, contents, examined)


def _wrong_sizes(folder: Path, size: int) -> Iterator[Finding]:
    sizes = {"base.raw": BLOCK_BYTES, "base.hashes": DIGEST_BYTES, "base.xxh3": DIGEST_BYTES}
    for name, each in sizes.items():
        path, wanted = folder / name, each * block_count(size)
        found = path.stat().st_size if path.exists() else None
        if found != wanted:
            yield Finding(
                path,
                "the file is missing" if found is None else f"{found} bytes instead of {wanted}",
                "blocks of the base may be lost; none is served that does not fit its digest",
                "repair puts right what the other files of the base, or other layers, still say",
            )


def _note(path: Path, disk: str, layer: str | None, found: set[int], contents: Contents, examined: Examined) -> None:
    """Into the findings, and into `contents` as it is known now."""
    known = contents.damage.get((disk, layer))
    healed = sorted(set(known.blocks) - found) if known else []
    if found:
        text = (
            f"{len(found)} blocks of 64 KiB do not fit their digests: {few(sorted(found))}"
            if layer
            else f"content, BLAKE3 and XXH3 of {len(found)} blocks of 64 KiB disagree: {few(sorted(found))}"
        )
        examined.findings.append(Finding(path, text, "no read returns them", _FROM_PEER))
    elif healed:
        text = f"the catalogue calls {len(healed)} blocks damaged that are right: {few(healed)}"
        examined.findings.append(Finding(path, text, "points are called damaged that are not", "repair forgets it"))
    event = changed(contents, disk, layer, found, None)
    if event is not None:
        contents.apply(event)


def _examine_part(folder: Path, contents: Contents, examined: Examined) -> None:
    if contents.open is None:
        return
    path = folder / "incoming" / f"{contents.open.cycle}.part"
    if not path.exists():
        return
    with path.open("rb") as file:
        end, size = _valid_prefix(file.fileno(), contents.open), os.fstat(file.fileno()).st_size
    if end < size:
        examined.findings.append(
            Finding(
                path,
                f"{size - end} bytes after byte {end} are no whole frames of this cycle",
                "none for any recovery point: the open cycle goes on before them",
                "the next start of the agent, or repair, cuts them, and the source sends them again",
            )
        )


def _valid_prefix(fd: int, opened: Opened) -> int:
    position = end = count = 0
    cycle = cycle_digest(opened.cycle)

    def read_next(view: memoryview) -> None:
        nonlocal position
        if read_into(fd, view, position) < len(view):
            raise EndOfFile("the end of the file")
        position += len(view)

    reader = FrameReader(read_next)
    try:
        while True:
            frame = reader.read()
            header = frame.header
            if (header.sequence, header.cycle, header.generation) != (count, cycle, opened.generation):
                return end
            count += 1
            end += frame.size
    except (CorruptFrame, EndOfFile):
        return end


def _clones(root: Path, contents: Contents) -> Iterator[Finding]:
    for clone, point in contents.clones.items():
        folder = root / "clones" / clone
        if not folder.is_dir():
            yield Finding(
                folder,
                f"the folder of clone {clone} is missing",
                f"what was written to it is lost, and it does not open; recovery point {point} has none of it",
                "put it back, or stop the test failover that it belongs to",
            )
            continue
        for name, size in contents.sizes_at(point).items():
            for path, wanted in private_files(folder, name, size).items():
                found = path.stat().st_size if path.exists() else None
                if found != wanted:
                    yield Finding(
                        path,
                        "the file is missing" if found is None else f"{found} bytes instead of {wanted}",
                        f"what was written to clone {clone} is lost, and it does not open",
                        "put the file back, or stop the test failover that it belongs to",
                    )
