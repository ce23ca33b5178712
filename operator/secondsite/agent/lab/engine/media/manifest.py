"""What an exported initial replication consists of: a manifest, and one file of frames per disk."""

from datetime import datetime
from pathlib import Path

import msgspec
from blake3 import blake3

from secondsite.agent.lab.engine.durable import check_id, replace_file
from secondsite.agent.lab.engine.errors import EngineError
from secondsite.wire.peer import Consistency

_VERSION = 1
_MOST_BYTES = 16 << 20


class MediaRefused(EngineError):
    """A folder that is no whole export of this VM. Nothing became a recovery point."""


class MediaDisk(msgspec.Struct, frozen=True, kw_only=True):
    """`size` of the disk; `blocks` and `root` as in a commit; length and hex BLAKE3 of the file of frames."""

    size: int
    blocks: int
    root: str
    file_bytes: int
    digest: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """Which cycle of which VM was exported. It is written last: a folder without it is no export."""

    vm: str
    cycle: str
    generation: int
    freeze_time: datetime
    consistency: Consistency
    disks: dict[str, MediaDisk]
    version: int = _VERSION


class _Sealed(msgspec.Struct, frozen=True):
    manifest: msgspec.Raw
    digest: str


def disk_file(folder: Path, disk: str) -> Path:
    return folder / f"{check_id('disk', disk)}.frames"


def manifest_path(folder: Path) -> Path:
    return folder / "manifest.json"


def save_manifest(folder: Path, manifest: Manifest) -> None:
    """Durably."""
    body = msgspec.json.encode(manifest)
    replace_file(manifest_path(folder), msgspec.json.encode(_Sealed(msgspec.Raw(body), blake3(body).hexdigest())))


def load_manifest(folder: Path) -> Manifest:
    """MediaRefused when there is none, or not a whole one."""
    path = manifest_path(folder)
    try:
        with path.open("rb") as file:
            sealed = msgspec.json.decode(file.read(_MOST_BYTES), type=_Sealed)
        if blake3(bytes(sealed.manifest)).hexdigest() != sealed.digest:
            raise MediaRefused(f"{path}: damaged, its digest does not hold; copy it again")
        manifest = msgspec.json.decode(sealed.manifest, type=Manifest)
    except FileNotFoundError as error:
        raise MediaRefused(f"{path}: not there; the export did not end, or this is another folder") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MediaRefused(f"{path}: no manifest of an export: {error}") from error
    if manifest.version != _VERSION:
        raise MediaRefused(f"{path}: version {manifest.version}, known here is {_VERSION}; update the older agent")
    return manifest
