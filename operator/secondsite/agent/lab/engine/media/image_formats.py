"""Which kind of disk image a file is, told from its own bytes before any other program gets to read it.

Nothing that an image says is a reason to open another file: what may refer to one is refused here.
"""

import os
from enum import StrEnum
from pathlib import Path
from typing import Final

from secondsite.agent.lab.engine.errors import EngineError

SECTOR_BYTES: Final = 512

_VHDX_MAGIC = b"vhdxfile"
_VHD_MAGIC = b"conectix"
_VHD_FIXED, _VHD_DYNAMIC = 2, 3
# Formats that may name other files, or that nobody here can read: name, offset and bytes.
_FOREIGN = (
    ("qcow", 0, b"QFI\xfb"),
    ("QED", 0, b"QED\0"),
    ("VMDK", 0, b"KDMV"),
    ("VMDK", 0, b"COWD"),
    ("VMDK", 0, b"# Disk DescriptorFile"),
    ("VDI", 64, b"\x7f\x10\xda\xbe"),
)
_WHOLE_DISK = "export the disk again as one whole VHD, VHDX or raw image"


class ImageFormat(StrEnum):
    """Raw: the bytes of the disk and nothing else. VHD and VHDX: as Hyper-V keeps disks, here always whole ones."""

    Raw = "Raw"
    VHD = "VHD"
    VHDX = "VHDX"


class ImageRefused(EngineError):
    """An image that cannot be read or written as asked. Nothing is left behind."""


_SUFFIXES = {
    ".raw": ImageFormat.Raw,
    ".img": ImageFormat.Raw,
    ".vhd": ImageFormat.VHD,
    ".avhd": ImageFormat.VHD,
    ".vhdx": ImageFormat.VHDX,
    ".avhdx": ImageFormat.VHDX,
}


def format_of(fd: int, image: Path, expected: ImageFormat | None) -> ImageFormat:
    """What the open file `image` holds. ImageRefused unless it is whole, and what its name or `expected` says.

    A fixed VHD is known by its last sector alone: cut off, it looks like a raw image, and only its name tells.
    Raw is believed when it is `expected`, whatever a guest wrote to its first sector.
    """
    size = os.fstat(fd).st_size
    head = os.pread(fd, SECTOR_BYTES, 0)
    if expected is not ImageFormat.Raw:
        _refuse_foreign(head, image)
    if size == 0 or size % SECTOR_BYTES:
        raise _refused(image, f"its {size} bytes are not whole sectors of {SECTOR_BYTES}", "copy it again, whole")
    if expected is ImageFormat.Raw:
        return expected
    expected = expected or _SUFFIXES.get(image.suffix.lower())
    found = _sniff(head, os.pread(fd, SECTOR_BYTES, size - SECTOR_BYTES), size, image)
    if expected not in (None, found):
        raise _refused(
            image, f"it should be {expected}, and its bytes say {found}", "copy it again, whole, or say which it is"
        )
    return found


def _refuse_foreign(head: bytes, image: Path) -> None:
    for name, offset, magic in _FOREIGN:
        if head[offset:].startswith(magic):
            raise _refused(image, f"it is a {name} image, which may refer to other files", _WHOLE_DISK)


def _sniff(head: bytes, tail: bytes, size: int, image: Path) -> ImageFormat:
    if head.startswith(_VHDX_MAGIC):
        return ImageFormat.VHDX
    if tail.startswith(_VHD_MAGIC):
        _check_vhd(head, tail, size, image)
        return ImageFormat.VHD
    if head.startswith(_VHD_MAGIC):
        raise _refused(image, "it begins as a VHD and does not end as one", "copy it again, whole")
    return ImageFormat.Raw


def _check_vhd(head: bytes, footer: bytes, size: int, image: Path) -> None:
    """The footer of a VHD, and its copy in front of a dynamic one (Virtual Hard Disk Image Format Specification)."""
    total = sum(footer) - sum(footer[64:68])
    if int.from_bytes(footer[64:68]) != ~total & 0xFFFFFFFF:
        raise _refused(image, "the checksum of its footer does not hold", "copy it again")
    kind, disk_size = int.from_bytes(footer[60:64]), int.from_bytes(footer[48:56])
    if kind not in (_VHD_FIXED, _VHD_DYNAMIC):
        # Read without its parent, what it lacks would be taken for zeros.
        raise _refused(image, f"it is a VHD of type {kind}, no whole disk", "merge its checkpoints first")
    if kind == _VHD_FIXED and disk_size > size - SECTOR_BYTES:
        raise _refused(image, f"its disk of {disk_size} bytes does not fit into the file", "copy it again, whole")
    # Readers look in front first, where the sectors of a fixed disk are the guest's.
    if head.startswith(_VHD_MAGIC) != (kind == _VHD_DYNAMIC):
        raise _refused(image, "its first sector contradicts its last", _WHOLE_DISK)
    if kind == _VHD_DYNAMIC and (head[48:56], head[60:64]) != (footer[48:56], footer[60:64]):
        raise _refused(image, "the two copies of its footer differ", "copy it again")


def _refused(image: Path, reason: str, remedy: str) -> ImageRefused:
    return ImageRefused(f"import of {image}: {reason}; {remedy}")
