"""The manifests that an API server must accept or refuse: one YAML file per kind, beside this one.

A file has a `base`, a valid object, and `cases`. A case changes the base by a merge patch (`with`; null removes a
field) and is accepted, then the answer contains `becomes`; or `refused`, then the message contains each of these texts.
With `stored` (a merge patch too) that object exists first, and the case is an update of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from secondsite.api.kind import API_VERSION, Kind
from secondsite.api.kinds import ALL_KINDS

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Case:
    """One manifest and what is expected of it."""

    kind: Kind[Any, Any]
    name: str
    manifest: dict[str, Any]
    stored: dict[str, Any] | None
    becomes: Mapping[str, Any]
    refused: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.kind.name}: {self.name}"


def load() -> Iterator[Case]:
    """All cases of all kinds."""
    for kind in ALL_KINDS:
        yield from (_case(kind, entry) for entry in _file(kind)["cases"])


def base(kind: Kind[Any, Any]) -> dict[str, Any]:
    """The valid object of a kind from which the cases start."""
    return merged({"apiVersion": API_VERSION}, _file(kind)["base"])


@cache
def _file(kind: Kind[Any, Any]) -> Any:
    return yaml.safe_load((FOLDER / f"{kind.plural}.yaml").read_text(encoding="utf-8"))


def _case(kind: Kind[Any, Any], entry: dict[str, Any]) -> Case:
    if unknown := entry.keys() - {"case", "with", "stored", "becomes", "refused"}:
        raise ValueError(f"{kind.plural}.yaml, {entry.get('case')!r}: unknown {sorted(unknown)}")
    stored = merged(base(kind), entry["stored"]) if "stored" in entry else None
    return Case(
        kind=kind,
        name=entry["case"],
        manifest=merged(stored or base(kind), entry.get("with", {})),
        stored=stored,
        becomes=entry.get("becomes", {}),
        refused=tuple(str(text) for text in entry.get("refused", ())),
    )


def merged(whole: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """`whole` after a JSON merge patch (RFC 7386)."""
    result = dict(whole)
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, Mapping):
            below = result.get(key)
            result[key] = merged(below if isinstance(below, Mapping) else {}, value)
        else:
            result[key] = value
    return result
