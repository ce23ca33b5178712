"""Small files of one record: a line of JSON and one with its CRC-32, replaced as a whole."""

import zlib
from pathlib import Path
from typing import TypeVar

import msgspec

from secondsite.agent.lab.engine.durable import replace_file
from secondsite.agent.lab.engine.errors import EngineError

Record = TypeVar("Record", bound=msgspec.Struct)

_CRC_LINE_BYTES = 9


def save_record(path: Path, record: msgspec.Struct) -> None:
    """Durably: after a crash the file holds the old record or this one."""
    replace_file(path, _sealed(msgspec.json.encode(record)))


def load_record(path: Path, kind: type[Record], remedy: str) -> Record | None:
    """None when there is no file. EngineError, with what to do, where it does not hold what was written."""
    try:
        return msgspec.json.decode(_unsealed(path.read_bytes()), type=kind)
    except FileNotFoundError:
        return None
    except (msgspec.DecodeError, RecursionError) as error:
        raise EngineError(f"{path} cannot be read ({error}); {remedy}") from error


def _unsealed(content: bytes) -> bytes:
    text = content[:-_CRC_LINE_BYTES].removesuffix(b"\n")
    # A number that changed by itself must not look like another one.
    if content != _sealed(text):
        raise msgspec.DecodeError("it does not fit its checksum")
    return text


def _sealed(text: bytes) -> bytes:
    return b"%s\n%08x\n" % (text, zlib.crc32(text))
