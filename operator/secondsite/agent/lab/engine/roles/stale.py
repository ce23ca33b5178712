"""The stale map of an adopted disk: which blocks may differ from the point that names it.

One file per disk, `stale/{disk}.map`, in pages of 65,536 blocks: 8 KiB of bits, the lowest bit of a byte first, and 16
bytes of BLAKE3 over them. No file: nobody knows, and only a comparison of the disks can tell.
"""

import os
import shutil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from secondsite.agent.lab.engine.blocks import digest
from secondsite.agent.lab.engine.durable import make_directory, sync_directory, write_all
from secondsite.agent.lab.engine.errors import PeerRefused
from secondsite.wire.peer import DIGEST_BYTES, MAX_PAGE_BLOCKS

_PAGE_BYTES = MAX_PAGE_BLOCKS // 8 + DIGEST_BYTES
Bits = NDArray[np.bool_]


def save_stale_maps(store_root: Path, maps: dict[str, Bits] | None) -> None:
    """Replace the maps of a store, durably; None: they are not known."""
    folder = store_root / "stale"
    shutil.rmtree(folder, ignore_errors=True)
    sync_directory(store_root)
    if maps is not None:
        make_directory(folder)
        for name, bits in maps.items():
            _save(folder / f"{name}.map", bits)
        sync_directory(folder)


def read_stale_page(store_root: Path, disk: str, first: int, count: int) -> bytes:
    """`count` packed bits from block `first`, which begins a page. PeerRefused when nobody knows them any more."""
    if first % MAX_PAGE_BLOCKS or not 1 <= count <= MAX_PAGE_BLOCKS:
        detail = f"{count} blocks from {first}: a page begins at a multiple of {MAX_PAGE_BLOCKS} and is no longer"
        raise PeerRefused(422, "BadRange", detail)
    try:
        with (store_root / "stale" / f"{disk}.map").open("rb") as file:
            page = os.pread(file.fileno(), _PAGE_BYTES, first // MAX_PAGE_BLOCKS * _PAGE_BYTES)
    except FileNotFoundError as error:
        detail = f"which blocks of disk {disk} differ is not known here: its host stopped uncleanly; compare the disks"
        raise PeerRefused(409, "MapNotTrusted", detail) from error
    bits = page[:-DIGEST_BYTES]
    if len(page) != _PAGE_BYTES or digest(bits) != page[-DIGEST_BYTES:]:
        raise PeerRefused(409, "MapNotTrusted", f"the stale map of disk {disk} is damaged; compare the disks")
    return bits[: -(-count // 8)]


def unpack_bits(packed: bytes, count: int) -> Bits:
    """One truth value per block. ValueError when there are too few bits."""
    if len(packed) != -(-count // 8):
        raise ValueError(f"{len(packed)} bytes for {count} bits")
    return np.unpackbits(np.frombuffer(packed, dtype=np.uint8), count=count, bitorder="little").astype(bool)


def _save(path: Path, bits: Bits) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        for first in range(0, len(bits), MAX_PAGE_BLOCKS):
            packed = np.packbits(bits[first : first + MAX_PAGE_BLOCKS], bitorder="little").tobytes()
            packed += bytes(_PAGE_BYTES - DIGEST_BYTES - len(packed))
            write_all(fd, packed + digest(packed))
        os.fdatasync(fd)
    finally:
        os.close(fd)
