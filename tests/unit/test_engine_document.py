"""`docs/engine.md` says what is so: its example runs, its layouts add up, and it leaves no refusal or event out."""

import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from secondsite.agent.lab import engine
from secondsite.agent.lab.engine.port.routes import PROBLEMS
from secondsite.agent.lab.engine.replica.catalogue import AnyEvent
from secondsite.agent.lab.engine.replica.layer import INDEX_TYPE, TRAILER_BYTES
from secondsite.wire.peer import ENTRY, HEADER_BYTES

DOCUMENT = Path(__file__).parents[2] / "docs" / "engine.md"
LAYOUTS = {
    "field": HEADER_BYTES,
    "field of a table entry": ENTRY.size,
    "field of an index entry, ascending by block": INDEX_TYPE.itemsize,
    "field of the trailer": TRAILER_BYTES,
}
TEXT = DOCUMENT.read_text(encoding="utf-8")


def test_the_example_runs(tmp_path: Path) -> None:
    example = re.search(r"```python\n(.*?)```", TEXT, re.DOTALL)
    assert example is not None
    command = [sys.executable, "-W", "error", "-c", example[1]]
    place = {"PYTHONPATH": str(Path(__file__).parents[2] / "operator"), "TMPDIR": str(tmp_path)}
    ended = subprocess.run(command, env=place, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("title", "size"), LAYOUTS.items())
def test_the_layouts_add_up(title: str, size: int) -> None:
    table = TEXT.split(f"| at | bytes | {title} |\n", 1)[1].split("\n\n", 1)[0]
    fields = [(int(at), int(length)) for at, length in re.findall(r"^\| (\d+) \| (\d+) \|", table, re.MULTILINE)]
    ends = [at + length for at, length in fields]
    assert [at for at, _ in fields] == [0, *ends[:-1]]
    assert ends[-1] == size


def test_every_refusal_has_its_line() -> None:
    sources = [path.read_text(encoding="utf-8") for path in Path(engine.__path__[0]).rglob("*.py")]
    codes = {code for text in sources for code in re.findall(r'PeerRefused\(\s*\d+, "(\w+)"', text)}
    assert len(codes) > 15
    codes |= {code for _, code in PROBLEMS.values()}
    assert {code for code in codes if not re.search(rf"^\|[^|]*\b{code}\b[^|]*\|", TEXT, re.MULTILINE)} == set()


def test_every_event_of_the_catalogue_has_its_line() -> None:
    events = {event.__name__ for event in get_args(AnyEvent)}
    assert {event for event in events if not re.search(rf"^\|[^|]*\b{event}\b[^|]*\|", TEXT, re.MULTILINE)} == set()


def test_what_it_links_to_is_there() -> None:
    # `make bench` writes this one.
    links = set(re.findall(r"\]\(([^)#]+)\)", TEXT)) - {"benchmarks.md"}
    assert [link for link in links if not (DOCUMENT.parent / link).exists()] == []
