"""YAML that stays the same whatever library reads it: one line for each small thing, in the order that it was made."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

_PLAIN = re.compile(r"^[A-Za-z0-9/][A-Za-z0-9_./\\ -]*(?<! )$")
_NOT_TEXT = re.compile(r"^([-+]?[0-9][0-9_]*(\.[0-9]*)?([eE][-+]?[0-9]+)?|\d{4}-\d\d?-\d\d?|0x.*)$")
_WORDS = frozenset({"true", "false", "yes", "no", "on", "off", "null", "y", "n"})


def flow(value: Any) -> str:
    """A value on one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(flow(item) for item in value) + "]"
    if isinstance(value, str):
        return _scalar(value)
    return json.dumps(value)


def document(body: Mapping[str, Any], comment: str) -> str:
    """A whole file: each item of a list on lines of its own, its own lists below it."""
    lines = [f"# {line}".rstrip() for line in comment.splitlines()]
    for key, value in body.items():
        if isinstance(value, list):
            lines += ["", f"{key}:", *(line for item in value for line in _item(item))]
        else:
            lines.append(f"{key}: {flow(value)}")
    return "\n".join(lines) + "\n"


def _item(item: Mapping[str, Any]) -> Iterator[str]:
    nested = {key for key, value in item.items() if isinstance(value, list) and value and isinstance(value[0], dict)}
    small = [f"{key}: {flow(value)}" for key, value in item.items() if key not in nested]
    large = [f"{key}: {flow(item[key])}" for key in item if key in nested]
    parts = [", ".join(small), *large]
    yield f"  - {{{parts[0]}" + ("," if large else "}")
    for number, part in enumerate(large, 1):
        yield f"     {part}" + ("}" if number == len(large) else ",")


def _scalar(text: str) -> str:
    plain = _PLAIN.match(text) and not _NOT_TEXT.match(text) and text.lower() not in _WORDS
    return text if plain else json.dumps(text, ensure_ascii=False)
