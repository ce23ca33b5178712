"""Writing the frozen disks of an open cycle to a folder, in the frames that would go over the wire."""

import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from blake3 import blake3

from secondsite.agent.lab.engine.blocks import root_of
from secondsite.agent.lab.engine.durable import make_directories, sync_directory, write_all
from secondsite.agent.lab.engine.errors import EngineError, Stopped
from secondsite.agent.lab.engine.media.manifest import (
    Manifest,
    MediaDisk,
    disk_file,
    load_manifest,
    manifest_path,
    save_manifest,
)
from secondsite.agent.lab.engine.port.frames import BuiltFrame, build_frame, cycle_digest
from secondsite.agent.lab.engine.primary.state import OpenState
from secondsite.agent.lab.engine.primary.tracker import DiskTracker
from secondsite.agent.lab.engine.types import Told
from secondsite.wire.peer import BLOCK_BYTES, FRAME_BLOCKS

# Dirty pages of a slow medium must not fill the memory.
_SYNC_FRAMES = 64


@dataclass(frozen=True, slots=True)
class Writing:
    """What is exported; `level` is zstd's, None: not compressed."""

    vm_id: str
    opened: OpenState
    generation: int
    trackers: Mapping[str, DiskTracker]
    level: int | None


class MediaExport:
    """Exports one open cycle. It may be repeated from the start: the frozen image stays as it is."""

    def __init__(self, folder: Path, writing: Writing, stop: threading.Event, told: Told | None) -> None:
        self._folder = folder
        self._writing = writing
        self._trackers = writing.trackers
        self._stop = stop
        self._told = told or (lambda _done, _total: None)
        self._plans = {name: tracker.plan() for name, tracker in self._trackers.items()}
        self._total = sum(len(plan) for plan in self._plans.values()) * BLOCK_BYTES
        self._done = 0

    def run(self) -> Manifest:
        """Everything is durable when it returns. Stopped, ImageLost, OSError; EngineError: another export is there."""
        self._clear_folder()
        manifest = Manifest(
            vm=self._writing.vm_id,
            cycle=self._writing.opened.cycle,
            generation=self._writing.generation,
            freeze_time=self._writing.opened.freeze_time,
            consistency=self._writing.opened.consistency,
            disks={name: self._write_disk(name) for name in self._trackers},
        )
        sync_directory(self._folder)
        save_manifest(self._folder, manifest)
        return manifest

    def _clear_folder(self) -> None:
        make_directories(self._folder)
        path = manifest_path(self._folder)
        if path.exists():
            if (found := load_manifest(self._folder)).vm != self._writing.vm_id:
                raise EngineError(f"{self._folder} holds the export of VM {found.vm}; choose another folder")
            # First, so that no manifest ever stands beside files of another cycle.
            path.unlink()
            sync_directory(self._folder)

    def _write_disk(self, name: str) -> MediaDisk:
        tracker, plan = self._trackers[name], self._plans[name]
        hasher, written = blake3(), 0
        path = disk_file(self._folder, name)
        # Media are other people's: what stands there may be a link to a file of ours, or a pipe.
        path.unlink(missing_ok=True)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            for sequence in range(-(-len(plan) // FRAME_BLOCKS)):
                if self._stop.is_set():
                    raise Stopped(
                        f"VM {self._writing.vm_id}: the export was stopped; the next one writes the same disks again"
                    )
                frame = self._frame(name, sequence)
                pieces: list[bytes | memoryview] = [frame.head, *frame.payload]
                for piece in pieces:
                    write_all(fd, piece)
                    hasher.update(piece)
                written += frame.size
                if sequence % _SYNC_FRAMES == _SYNC_FRAMES - 1:
                    os.fdatasync(fd)
            os.fsync(fd)
        finally:
            os.close(fd)
        return MediaDisk(
            size=tracker.disk.size,
            blocks=len(plan),
            root=root_of(tracker.digests(plan)),
            file_bytes=written,
            digest=hasher.hexdigest(),
        )

    def _frame(self, name: str, sequence: int) -> BuiltFrame:
        tracker = self._trackers[name]
        blocks = self._plans[name][sequence * FRAME_BLOCKS : (sequence + 1) * FRAME_BLOCKS]
        content = memoryview(bytearray(len(blocks) * BLOCK_BYTES))
        tracker.read_frozen(blocks, content)
        frame = build_frame(
            blocks,
            content,
            sequence=sequence,
            generation=self._writing.generation,
            cycle=cycle_digest(self._writing.opened.cycle),
            level=self._writing.level,
        )
        tracker.remember(blocks, frame.digests)
        self._done += len(content)
        self._told(self._done, self._total)
        return frame
