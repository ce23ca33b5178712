"""What a reader may count on in every file: it is short, and its package says what is in it."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
LONGEST = 300
"""Lines; a longer file holds more than one subject."""


def python_files(folder: Path = ROOT) -> Iterator[Path]:
    """The project's own: no environment, cache or checkout data, whose folders begin with a dot."""
    for path in folder.iterdir():
        if path.is_dir() and not path.name.startswith("."):
            yield from python_files(path)
        elif path.suffix == ".py":
            yield path


def too_long(paths: Iterator[Path]) -> dict[str, int]:
    lines = {str(path): len(path.read_text(encoding="utf-8").splitlines()) for path in paths}
    return {path: count for path, count in lines.items() if count > LONGEST}


def undescribed(paths: Iterator[Path]) -> list[Path]:
    packages = (path for path in paths if path.name == "__init__.py")
    return [path for path in packages if not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))]


def test_the_projects_own_files_are_looked_at() -> None:
    found = set(python_files())
    assert {Path(__file__), ROOT / "operator/secondsite/__init__.py"} <= found


def test_no_python_file_is_longer_than_300_lines() -> None:
    assert not too_long(python_files()), "split them by subject; helpers of both halves go to tests/support"


def test_each_package_says_what_is_in_it() -> None:
    assert not undescribed(python_files()), "begin each with a docstring of one sentence"


def test_offenders_are_found(tmp_path: Path) -> None:
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").write_text("import os\n", encoding="utf-8")
    (package / "just.py").write_text("pass\n" * LONGEST, encoding="utf-8")
    (package / "long.py").write_text("pass\n" * (LONGEST + 1), encoding="utf-8")
    assert too_long(python_files(tmp_path)) == {str(package / "long.py"): LONGEST + 1}
    assert undescribed(python_files(tmp_path)) == [package / "__init__.py"]
