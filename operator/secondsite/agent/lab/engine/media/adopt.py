"""Make disk files that are already here the base of a replica: copied or moved, hashed, named by the catalogue."""

import contextlib
import errno
import os
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path

import msgspec

from secondsite.agent.lab.engine.durable import (
    check_id,
    lock_directory,
    make_directories,
    make_directory,
    replace_file,
    sync_directory,
)
from secondsite.agent.lab.engine.errors import EngineError
from secondsite.agent.lab.engine.media.adopt_disk import make_base
from secondsite.agent.lab.engine.record import load_record, save_record
from secondsite.agent.lab.engine.replica.catalogue import Catalogue, Committed, Founded
from secondsite.agent.lab.engine.replica.contents import fold
from secondsite.agent.lab.engine.replica.layer import TRAILER_BYTES, empty_index, pack_footer
from secondsite.agent.lab.engine.types import utc_now
from secondsite.wire.peer import CycleKind


class Adoptee(msgspec.Struct, frozen=True, kw_only=True):
    """One disk: where it lies, its size in bytes, whether its file itself becomes the base, blocks hashed so far."""

    path: str
    size: int
    move: bool
    hashed: int = 0


class Adoption(msgspec.Struct, frozen=True, kw_only=True):
    """`adopting.json`: stands in the store's folder from the first change to the catalogue's line."""

    vm: str
    point: str
    generation: int
    freeze_time: datetime
    stale: bool
    disks: dict[str, Adoptee]


def adopt(
    store_root: Path,
    vm_id: str,
    disks: Mapping[str, Path],
    *,
    point: str,
    generation: int,
    freeze_time: datetime,
    stale: bool,
    move: bool,
) -> None:
    """Make raw disk files the base of a new store under `store_root`; `point` becomes its head, of kind Seed.

    `stale`: the disks differ from what the point's name says; it is offered to nobody, and a comparison or the stale
    map leads on from it. `move`: the files themselves become the base, where they lie on the same file system.
    Nobody may write to them meanwhile. After a kill call it again with the same arguments: it goes on, or finds itself
    done. EngineError when the store holds something already, or another adoption was begun; StoreLocked; OSError.
    """
    begin_adoption(
        store_root,
        vm_id,
        lambda: {name: (path, move) for name, path in disks.items()},
        point=point,
        generation=generation,
        freeze_time=freeze_time,
        stale=stale,
    )


def begin_adoption(
    store_root: Path,
    vm_id: str,
    prepare: Callable[[], Mapping[str, tuple[Path, bool]]],
    *,
    point: str,
    generation: int,
    freeze_time: datetime,
    stale: bool,
    clock: Callable[[], datetime] = utc_now,
) -> None:
    """As `adopt`; `prepare` gives per disk its path and whether to move it, and is not asked once all is done."""
    check_id("VM", vm_id)
    check_id("point", point)
    make_directories(store_root)
    lock = lock_directory(store_root)
    try:
        with contextlib.closing(Catalogue(store_root / "catalog.log")) as catalogue:
            if _adopted_already(catalogue, store_root, vm_id, point):
                _tidy(store_root)
                return
            disks = prepare()
            wanted = Adoption(
                vm=vm_id,
                point=point,
                generation=generation,
                freeze_time=freeze_time,
                stale=stale,
                disks={check_id("disk", name): _adoptee(store_root, name, *disks[name]) for name in sorted(disks)},
            )
            _carry_out(store_root, catalogue, _begun(store_root, wanted), clock)
    finally:
        os.close(lock)


def expect_no_adoption(store_root: Path) -> None:
    """EngineError when one was interrupted here: then what lies there is no store yet."""
    if _plan_path(store_root).exists():
        raise EngineError(f"{store_root}: the adoption of disks was interrupted here; repeat it before the store opens")


def _adopted_already(catalogue: Catalogue, root: Path, vm_id: str, point: str) -> bool:
    contents = fold(catalogue.events)
    contents.expect_vm(vm_id, root)
    if any(entry.point == point for entry in contents.points):
        return True
    if contents.points or contents.open is not None:
        raise EngineError(f"{root} holds a replica already, newest point {contents.head}; discard it before adopting")
    return False


def _adoptee(root: Path, name: str, path: Path, move: bool) -> Adoptee:
    # Moved by an earlier attempt: what it was called and how long it was is in the plan.
    moved = move and not path.exists() and (_folder(root, name) / "base.raw").exists()
    size = 0 if moved else path.stat().st_size
    if not moved and (size == 0 or not path.is_file()):
        raise EngineError(f"disk {name}: {path} is no disk image: a regular file that is not empty is needed")
    return Adoptee(path=str(path), size=size, move=move)


def _begun(root: Path, wanted: Adoption) -> Adoption:
    """The adoption to carry out: the one that was interrupted, with what it has done, or this new one, durably."""
    found = _load(root, "move disks/*/base.raw back, cut to the disks' sizes, remove the folder and adopt them again")
    if found is None:
        save_record(_plan_path(root), wanted)
        return wanted
    if _identity(found) != _identity(wanted):
        raise EngineError(
            f"{root}: the adoption of {sorted(found.disks)} as {found.point} was interrupted; repeat that one, "
            "or remove the folder (disks that were moved lie in it as disks/*/base.raw)"
        )
    return found


def _load(root: Path, remedy: str) -> Adoption | None:
    return load_record(_plan_path(root), Adoption, remedy)


def _identity(adoption: Adoption) -> object:
    disks = {name: (disk.path, disk.move) for name, disk in adoption.disks.items()}
    return adoption.vm, adoption.point, adoption.generation, adoption.freeze_time, adoption.stale, disks


def _carry_out(root: Path, catalogue: Catalogue, adoption: Adoption, clock: Callable[[], datetime]) -> None:
    make_directory(root / "disks")
    for name in adoption.disks:
        adoption = _adopt_disk(root, adoption, name)
    if not catalogue.events:
        catalogue.append(Founded(vm=adoption.vm))
    catalogue.append(
        Committed(
            point=adoption.point,
            generation=adoption.generation,
            kind=CycleKind.Seed,
            freeze_time=adoption.freeze_time,
            durable_time=clock(),
            bytes=TRAILER_BYTES * len(adoption.disks),
            sizes={name: disk.size for name, disk in adoption.disks.items()},
            stale=adoption.stale,
        )
    )
    _tidy(root)


def _tidy(root: Path) -> None:
    """The catalogue names the point: remove what was only needed on the way there."""
    adoption = _load(root, "the disks are adopted: remove it, and what is left of their former files")
    if adoption is None:
        return
    for disk in adoption.disks.values():
        if disk.move:
            # It was on another file system, and copied.
            Path(disk.path).unlink(missing_ok=True)
    _plan_path(root).unlink()
    sync_directory(root)


def _adopt_disk(root: Path, adoption: Adoption, name: str) -> Adoption:
    disk = adoption.disks[name]
    folder = make_directory(_folder(root, name))
    layers = make_directory(folder / "layers")
    source = Path(disk.path)
    if disk.move:
        _move(source, folder / "base.raw")

    def note(hashed: int) -> None:
        nonlocal adoption
        done = msgspec.structs.replace(disk, hashed=hashed)
        adoption = msgspec.structs.replace(adoption, disks={**adoption.disks, name: done})
        save_record(_plan_path(root), adoption)

    make_base(folder, disk.size, None if disk.move and not source.exists() else source, disk.hashed, note)
    replace_file(layers / f"{adoption.point}.lay", pack_footer(empty_index(), 0))
    sync_directory(folder)
    return adoption


def _move(source: Path, target: Path) -> None:
    """Rename, where that is possible; else the hashing copies."""
    if target.exists() or not source.exists():
        return
    try:
        source.rename(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        return
    sync_directory(target.parent)
    sync_directory(source.parent)


def _folder(root: Path, name: str) -> Path:
    return root / "disks" / name


def _plan_path(root: Path) -> Path:
    return root / "adopting.json"
