"""Requests of the data port made by hand, byte by byte, as a stranger would."""

import socket
import struct
import zlib
from typing import Any

import msgspec
import numpy as np

from secondsite.agent.lab.engine import CycleKind
from secondsite.agent.lab.engine.blocks import Blocks
from secondsite.agent.lab.engine.port.frames import BuiltFrame, build_frame, cycle_digest
from secondsite.wire.peer import HEADER_BYTES, CycleOpen, DiskPlan, FrameHeader
from support.engine_pair import BLOCK, START, pattern

SIZES = {"a": 200 * BLOCK}
FRAMES = "/v1/vms/vm/cycles/c1/disks/a/frames"
CYCLES = "/v1/vms/vm/cycles"
COMMIT = "/v1/vms/vm/cycles/c1/commit"


def talk(port: int, raw: bytes) -> bytes:
    """Send bytes, end our side, read all that comes."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as sock:
        return converse(sock, raw)


def converse(sock: socket.socket, raw: bytes) -> bytes:
    """The same on a connection; what the other end reset is what came before."""
    answer = b""
    try:
        sock.sendall(raw)
        sock.shutdown(socket.SHUT_WR)
        while part := sock.recv(65536):
            answer += part
    except (ConnectionResetError, BrokenPipeError):
        pass
    return answer


def request(method: str, path: str, message: Any = None) -> bytes:
    body = b"" if message is None else msgspec.json.encode(message)
    return f"{method} {path} HTTP/1.1\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body


def opening(blocks: int = 128) -> CycleOpen:
    return CycleOpen(
        cycle="c1",
        parent=None,
        generation=1,
        freeze_time=START,
        kind=CycleKind.Initial,
        disks={"a": DiskPlan(size=SIZES["a"], blocks=blocks)},
    )


def blocks_of(start: int, count: int) -> tuple[Blocks, memoryview]:
    content = memoryview(bytearray(b"".join(pattern(start + number) for number in range(count))))
    return np.arange(start, start + count, dtype=np.int64), content


def joined(built: BuiltFrame) -> bytes:
    return built.head + b"".join(bytes(piece) for piece in built.payload)


def frame(
    sequence: int,
    *,
    first: int | None = None,
    count: int = 64,
    cycle: str = "c1",
    generation: int = 1,
    level: int | None = None,
) -> bytes:
    """A frame as it goes over the wire; its blocks hold `pattern` of their numbers."""
    blocks, content = blocks_of(sequence * 64 if first is None else first, count)
    digest = cycle_digest(cycle)
    return joined(build_frame(blocks, content, sequence=sequence, generation=generation, cycle=digest, level=level))


def forged(raw: bytes, payload: bytes | None = None, **changes: Any) -> bytes:
    """The frame with another header or payload, and a CRC that holds all the same."""
    header = FrameHeader.unpack(raw[:HEADER_BYTES])
    end = HEADER_BYTES + header.table_bytes
    return msgspec.structs.replace(header, **changes).pack(raw[HEADER_BYTES:end]) + (
        raw[end:] if payload is None else payload
    )


def patched(raw: bytes, position: int, value: bytes) -> bytes:
    """The frame with other bytes in header or table, and a CRC that holds all the same."""
    table_end = HEADER_BYTES + FrameHeader.unpack(raw[:HEADER_BYTES]).table_bytes
    changed = raw[:position] + value + raw[position + len(value) :]
    crc = zlib.crc32(changed[HEADER_BYTES:table_end], zlib.crc32(changed[: HEADER_BYTES - 4]))
    return changed[: HEADER_BYTES - 4] + struct.pack("<I", crc) + changed[HEADER_BYTES:]


def put(*frames: bytes, first: int = 0, path: str = FRAMES, end: bytes = b"0\r\n\r\n") -> bytes:
    head = f"PUT {path}?from={first} HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n".encode()
    return head + b"".join(b"%x\r\n%b\r\n" % (len(raw), raw) for raw in frames) + end
