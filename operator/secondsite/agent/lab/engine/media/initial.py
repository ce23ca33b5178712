"""Initial replication by media: exported to a folder at one site, carried, imported at the other."""

import threading
from pathlib import Path

from blake3 import blake3

from secondsite.agent.lab.engine.errors import CorruptFrame, EndOfFile, Stopped
from secondsite.agent.lab.engine.media.manifest import Manifest, MediaDisk, MediaRefused, disk_file, load_manifest
from secondsite.agent.lab.engine.port.frames import FrameReader
from secondsite.agent.lab.engine.port.syncer import Syncer
from secondsite.agent.lab.engine.primary.quiesce import Quiesce
from secondsite.agent.lab.engine.primary.source import ReplicationSource
from secondsite.agent.lab.engine.replica.store import TargetStore
from secondsite.agent.lab.engine.types import Told
from secondsite.wire.peer import Codec, CycleCommit, CycleKind, CycleOpen, DiskCommit, DiskPlan

__all__ = ["Manifest", "MediaRefused", "export_initial", "import_initial", "load_manifest"]

# Quicker than most media, and what travels is half as much.
_LEVEL = 1


def export_initial(
    source: ReplicationSource,
    folder: Path,
    *,
    stop: threading.Event | None = None,
    progress: Told | None = None,
    level: int | None = _LEVEL,
    quiesce: Quiesce | None = None,
) -> Manifest:
    """Write the initial copy of all disks to `folder`, as of one instant, durably; guests write on.

    The source then waits for the import: its next cycles raise WaitingForMedia until the replica has that point, and go
    on with what was written since. `progress` hears (bytes done, in all); `level` is zstd's, None: not compressed.
    Interrupted, the next call writes the same instant again; after a whole export it takes a new one, for media that
    were lost. Stopped, ImageLost, MapNotTrusted, OSError; EngineError when the source has replicated already, or the
    folder holds the export of another VM.
    """
    return source.export_initial(folder, stop or threading.Event(), progress, level=level, quiesce=quiesce)


def import_initial(
    store: TargetStore, folder: Path, *, stop: threading.Event | None = None, progress: Told | None = None
) -> str:
    """Make the export in `folder` the first recovery point of a replica; the point's id. Repeatable after a kill.

    Every frame is checked as one from the wire. `progress` hears (bytes of files read, in all). MediaRefused when the
    manifest or a disk is missing, damaged or of another VM; HeadConflict when the replica has other points; Stopped,
    OSError.
    """
    manifest = load_manifest(folder)
    if manifest.vm != store.vm_id:
        raise MediaRefused(f"{folder}: an export of VM {manifest.vm}, this is the replica of {store.vm_id}")
    if store.head == manifest.cycle:
        return manifest.cycle
    for name, disk in manifest.disks.items():
        _expect_file(folder, name, disk)
    store.receiver.open_cycle(_opening(manifest))
    reading = _Reading(sum(disk.file_bytes for disk in manifest.disks.values()), stop or threading.Event(), progress)
    for name, disk in manifest.disks.items():
        _import_disk(store, manifest.cycle, name, disk, disk_file(folder, name), reading)
    disks = {name: DiskCommit(count=disk.blocks, root=disk.root) for name, disk in manifest.disks.items()}
    return store.receiver.commit(manifest.cycle, CycleCommit(disks=disks)).point


def _opening(manifest: Manifest) -> CycleOpen:
    return CycleOpen(
        cycle=manifest.cycle,
        parent=None,
        generation=manifest.generation,
        freeze_time=manifest.freeze_time,
        kind=CycleKind.Initial,
        disks={name: DiskPlan(size=disk.size, blocks=disk.blocks) for name, disk in manifest.disks.items()},
        consistency=manifest.consistency,
    )


def _expect_file(folder: Path, name: str, disk: MediaDisk) -> None:
    path = disk_file(folder, name)
    found = path.stat().st_size if path.is_file() else None
    if found != disk.file_bytes:
        state = "is not there" if found is None else f"has {found} bytes"
        raise MediaRefused(f"{path}: {state}, the manifest says {disk.file_bytes} bytes; copy it again")


class _Reading:
    """How far the files have been read, all disks together."""

    def __init__(self, total: int, stop: threading.Event, told: Told | None) -> None:
        self._total = total
        self._stop = stop
        self._told = told or (lambda _done, _total: None)
        self._done = 0

    def advance(self, count: int) -> None:
        """Stopped when the caller wants no more."""
        self._done += count
        self._told(self._done, self._total)
        if self._stop.is_set():
            raise Stopped("the import was stopped; the next one goes on with it")


def _import_disk(store: TargetStore, cycle: str, name: str, disk: MediaDisk, path: Path, reading: _Reading) -> None:
    part = store.receiver.part(cycle, name)
    writer = part.claim(0)
    hasher, position = blake3(), 0
    with path.open("rb") as file, Syncer(part) as syncer:

        def read_into(view: memoryview) -> None:
            nonlocal position
            if file.readinto(view) != len(view):
                raise EndOfFile(f"it ends at byte {position}, in the middle of a frame")
            hasher.update(view)
            position += len(view)

        reader = FrameReader(read_into, codecs=Codec)
        while (begin := position) < disk.file_bytes:
            try:
                frame = reader.read()
                part.append(writer, frame)
            except (CorruptFrame, EndOfFile) as error:
                raise MediaRefused(f"{path}, byte {begin}: {error}; copy it again") from error
            syncer.came(frame.size)
            reading.advance(position - begin)
    if hasher.hexdigest() != disk.digest:
        raise MediaRefused(f"{path}: its digest is not that of the manifest; copy it again")
