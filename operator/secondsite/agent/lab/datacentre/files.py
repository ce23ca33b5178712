"""Data-centre files. `examples/sites` holds a small pair and a large one."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import yaml
from pydantic import ValidationError

from secondsite.agent.lab.datacentre.centre import DataCentre
from secondsite.errors import SecondsiteError

# libyaml's reads ten times as fast: a file of 500 VMs in a third of a second.
_Loader: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def load(path: Path) -> DataCentre:
    """Read a data-centre file. Raises SecondsiteError, naming each wrong field by its path."""
    try:
        return _read(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SecondsiteError(f"Reading the data-centre file {path}: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise SecondsiteError(f"The data-centre file {path} is not YAML: {error}") from error
    except ValidationError as error:
        found = "; ".join(f"{_where(item['loc'])}: {item['msg']}" for item in error.errors())
        raise SecondsiteError(f"The data-centre file {path.name} is wrong: {found}") from error


# A driver reads its file to see that it is right, and once more when it starts; what is read is never changed.
@lru_cache(maxsize=4)
def _read(text: str) -> DataCentre:
    return DataCentre.model_validate(yaml.load(text, Loader=_Loader))  # noqa: S506 - it is the safe one


def _where(location: tuple[int | str, ...]) -> str:
    parts = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return parts.removeprefix(".") or "file"
