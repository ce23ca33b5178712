"""What two agents say to each other on the data port: paths, messages, the layout of a frame. Types only.

The wire is HTTP/1.1. Times are RFC 3339 in UTC, sizes are bytes, a block is 64 KiB. One replication cycle of a VM is

    POST /v1/vms/{vm}/cycles                                  CycleOpen   -> 201 CycleOpened, 409 Problem with `head`
    PUT  /v1/vms/{vm}/cycles/{c}/disks/{d}/frames?from=N      frames, one per chunk, to the end -> 200 FramesHeld
    GET  /v1/vms/{vm}                                         PeerStatus: what is held durably; ask it while a PUT runs
    POST /v1/vms/{vm}/cycles/{c}/commit                       CycleCommit -> 200 CycleCommitted, only once durable

or, where nothing has changed since the newest point,

    POST /v1/vms/{vm}/cycles?unchanged                        CycleUnchanged -> 200 CycleCommitted, 409: run a cycle

and beside a cycle

    GET  /v1/vms/{vm}/disks/{d}/hashes?from=B&count=N&basis=Stored|Read   XXH3-128 of blocks at the head, 16 bytes each
    GET  /v1/vms/{vm}/disks/{d}/stale?from=B&count=N                      which blocks of an adopted disk to send: bits,
        the lowest first, from a multiple of 65,536; 409 MapNotTrusted: nobody knows, compare
    PUT  /v1/vms/{vm}/disks/{d}/repairs                                   frames of blocks that PeerStatus wants

A cycle carries all disks of a VM as they were at one instant. Every call may be repeated.
"""

import struct
import zlib
from datetime import datetime
from enum import StrEnum
from typing import Self

import msgspec

WIRE_VERSION = 1
BLOCK_BYTES = 65536
FRAME_BLOCKS = 64
DIGEST_BYTES = 16
# No honest message is larger; what is larger is refused unread.
MAX_MESSAGE_BYTES = 1 << 20

ID_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}"


# The largest page of hashes or of a stale map, in blocks: 1 MiB of hashes.
MAX_PAGE_BLOCKS = 65536
# How many damaged blocks one status asks for, over all disks.
MAX_WANTED_BLOCKS = 4096


class CycleKind(StrEnum):
    """How a recovery point came about. Initial has no parent: what it does not carry is zero.

    Seed never goes over the wire as a cycle: a disk that was already at the replica, a copy or a former primary's.
    """

    Initial = "Initial"
    Delta = "Delta"
    Seed = "Seed"


class Consistency(StrEnum):
    """What the guest knew of the freeze: nothing, or it had finished and flushed what was under way, or it was off."""

    CrashConsistent = "CrashConsistent"
    ApplicationConsistent = "ApplicationConsistent"
    Synced = "Synced"


class HashBasis(StrEnum):
    """What a replica's hashes rest on: those kept beside its blocks, or the blocks themselves, read again."""

    Stored = "Stored"
    Read = "Read"


class Codec(StrEnum):
    """How a frame's payload is packed on the wire: one Zstandard frame of all its blocks, or as they are."""

    Raw = "Raw"
    Zstd = "Zstd"


CODEC_BYTES = {Codec.Raw: 0, Codec.Zstd: 1}


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """Unknown fields are ignored, so that a newer peer can say more."""


class DiskPlan(Message, frozen=True):
    """One disk in a cycle: its virtual size, and how many blocks the cycle carries."""

    size: int
    blocks: int


class CycleOpen(Message, frozen=True):
    """Begin a cycle, or go on with it: the id is the sender's, and names the recovery point that it becomes."""

    cycle: str
    parent: str | None
    generation: int
    freeze_time: datetime
    kind: CycleKind
    disks: dict[str, DiskPlan]
    consistency: Consistency = Consistency.CrashConsistent
    version: int = WIRE_VERSION
    changes_disks: bool = False
    """The VM's disks are others from this cycle on: what the parent has not comes whole."""


class CycleOpened(Message, frozen=True):
    """Per disk, how many frames of this cycle are held durably: the sender goes on there. `codecs`: what it may use."""

    have: dict[str, int]
    codecs: tuple[str, ...] = (Codec.Raw,)


class FramesHeld(Message, frozen=True):
    """The answer to a PUT that ended well."""

    have: int


class DiskCommit(Message, frozen=True):
    """`count` blocks; `root` is the hex BLAKE3 of their digests in block order, so nothing is missing or exchanged."""

    count: int
    root: str


class CycleCommit(Message, frozen=True):
    disks: dict[str, DiskCommit]


class CycleCommitted(Message, frozen=True):
    """The recovery point exists and survives a power cut."""

    point: str
    durable_time: datetime


class CycleUnchanged(Message, frozen=True):
    """Nothing differs at `freeze_time` from `head`, the newest point: it becomes the point of that time."""

    head: str
    generation: int
    freeze_time: datetime
    version: int = WIRE_VERSION


class OpenCycle(Message, frozen=True):
    """A cycle under way at the receiver; `have` as in CycleOpened."""

    cycle: str
    parent: str | None
    have: dict[str, int]


class PeerStatus(Message, frozen=True):
    """One VM as its receiver sees it. `head` is the newest recovery point, or the adopted disk to build on.

    `stale`: the head is an adopted disk that differs from what its name says; ask for the stale map or compare.
    `wanted`: damaged blocks per disk that the sender may still hold. `free_bytes` of the replica's storage.
    """

    vm: str
    generation: int
    head: str | None
    open: OpenCycle | None
    disks: dict[str, int]
    stale: bool = False
    wanted: dict[str, tuple[int, ...]] = {}
    free_bytes: int | None = None
    version: int = WIRE_VERSION


class Repaired(Message, frozen=True):
    """How many damaged blocks the frames mended: those whose digest fits what was lost."""

    blocks: int


class Problem(Message, frozen=True):
    """An RFC 9457 problem.

    `head` comes with HeadConflict, `have` with FramesMissing, `generation` (the answering side's) with StaleGeneration.
    """

    status: int
    code: str
    detail: str
    type: str = "about:blank"
    head: str | None = None
    have: int | None = None
    generation: int | None = None


# magic, version, codec, flags, sequence, blocks, raw bytes, stored bytes, generation, cycle digest, reserved, CRC
_HEADER = struct.Struct("<4sHBBQIIIQ16s8xI")
_MAGIC = b"SSfr"
HEADER_BYTES = _HEADER.size

# One entry of the table that follows the header: block number, digest of the raw block, flags, padding.
ENTRY = struct.Struct("<Q16sB7x")
FLAG_DATA = 0
# A zero block has no payload, and an all-zero digest.
FLAG_ZERO = 1

MAX_FRAME_BYTES = HEADER_BYTES + FRAME_BLOCKS * (ENTRY.size + BLOCK_BYTES)


class FrameHeader(msgspec.Struct, frozen=True, kw_only=True):
    """The first 64 bytes of a frame; the table of `blocks` entries and `stored_bytes` of payload follow.

    `cycle` is a 16-byte digest of the cycle's id: a frame that strays into another cycle's file is found out.
    """

    sequence: int
    blocks: int
    raw_bytes: int
    stored_bytes: int
    generation: int
    cycle: bytes
    codec: int = 0

    def pack(self, table: bytes) -> bytes:
        """Header and table as they go over the wire; the CRC at the header's end covers both."""
        fields = (_MAGIC, WIRE_VERSION, self.codec, 0, self.sequence, self.blocks, self.raw_bytes)
        head = _HEADER.pack(*fields, self.stored_bytes, self.generation, self.cycle, 0)[:-4]
        return head + struct.pack("<I", zlib.crc32(table, zlib.crc32(head))) + table

    @classmethod
    def unpack(cls, head: bytes) -> Self:
        """Read 64 bytes, without the CRC (see `crc_holds`). ValueError says what is wrong with them."""
        magic, version, codec, flags, sequence, blocks, raw, stored, generation, cycle, _ = _HEADER.unpack(head)
        if magic != _MAGIC:
            raise ValueError("not a frame: wrong magic")
        if version != WIRE_VERSION:
            raise ValueError(f"a frame of version {version} came, version {WIRE_VERSION} is spoken here")
        if codec not in CODEC_BYTES.values():
            known = ", ".join(f"{number} {name}" for name, number in CODEC_BYTES.items())
            raise ValueError(f"a frame with codec {codec} came, known here are {known}")
        if flags:
            raise ValueError(f"a frame with flags {flags} came, none is known here")
        if not 1 <= blocks <= FRAME_BLOCKS or raw > blocks * BLOCK_BYTES or raw % BLOCK_BYTES or stored > raw:
            raise ValueError(f"frame of {blocks} blocks, {raw} raw and {stored} stored bytes: out of bounds")
        return cls(
            sequence=sequence,
            blocks=blocks,
            raw_bytes=raw,
            stored_bytes=stored,
            generation=generation,
            cycle=cycle,
            codec=codec,
        )

    @property
    def table_bytes(self) -> int:
        return self.blocks * ENTRY.size


def crc_holds(head: bytes, table: bytes | memoryview) -> bool:
    """Whether the CRC in the 64 bytes of `head` fits head and table."""
    (stored,) = struct.unpack("<I", head[-4:])
    return bool(stored == zlib.crc32(table, zlib.crc32(head[:-4])))
