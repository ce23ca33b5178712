"""Builds the control plane, once for each state of its sources: `python -m secondsite.sandbox.build`."""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import re
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from secondsite.errors import SecondsiteError
from secondsite.sandbox import steps, toolchain
from secondsite.sandbox.steps import Progress, silent
from secondsite.sandbox.toolchain import Toolchain

SOURCES = Path(__file__).parent / "controlplane"

_LOCK_POLL_SECONDS = 1.0


def cache_home() -> Path:
    """Where built control planes are kept: outside any checkout, so that a clean clone finds them."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "secondsite" / "controlplane"


def binary_path(sources: Path = SOURCES, cache: Path | None = None) -> Path:
    """Where the binary for exactly these sources and this platform is, or would be."""
    digest = hashlib.sha256()
    for file in sorted(sources.iterdir()):
        if file.name in ("go.mod", "go.sum") or file.suffix == ".go":
            content = file.read_bytes()
            digest.update(f"{file.name} {len(content)}\n".encode() + content)
    key = f"{digest.hexdigest()[:16]}-{sys.platform}-{platform.machine()}"
    return (cache or cache_home()) / key / "controlplane"


def build(progress: Progress = silent, *, sources: Path = SOURCES, cache: Path | None = None) -> Path:
    """The binary, built if need be: about four minutes on two cores, 4 GB of disk meanwhile, 130 MB after.

    `progress` gets a line of text about once a second. A build at the same moment in another process is waited for.
    Raises BuildError, with one paragraph that says what to do.
    """
    binary = binary_path(sources, cache)
    if binary.exists():
        return binary
    home = binary.parent.parent
    try:
        home.mkdir(parents=True, exist_ok=True)
        with _locked(home / "lock", progress):
            if not binary.exists():
                _build(sources, binary, home / "work", progress)
    except OSError as error:
        raise steps.BuildError(
            f"Building the control plane in {home} failed: {error}",
            "Set XDG_CACHE_HOME to a folder that can be written.",
        ) from error
    return binary


@contextmanager
def _locked(path: Path, progress: Progress) -> Iterator[None]:
    started = time.monotonic()
    with path.open("w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                progress(f"another process builds the control plane, waiting for it: {steps.elapsed(started)}")
                time.sleep(_LOCK_POLL_SECONDS)
        yield


def _build(sources: Path, binary: Path, work: Path, progress: Progress) -> None:
    work.mkdir(exist_ok=True)
    go = toolchain.find(_directive(sources, "go"), work, progress)
    packages = _packages(sources, go, work, progress)
    unfinished = work / "controlplane"
    _compile(sources, go, unfinished, packages, progress)
    if binary_path(sources, binary.parent.parent) != binary:
        raise steps.BuildError("The control plane's sources changed while it was built", "Build it again.")
    _publish(unfinished, binary)
    # Kept until here, so that a build that failed half-way goes on where it stopped.
    shutil.rmtree(work)


def _packages(sources: Path, go: Toolchain, work: Path, progress: Progress) -> frozenset[str]:
    """The packages that go into the binary; asking for them fetches the modules that they come in."""
    started = time.monotonic()
    lines = steps.run(
        "Fetching the modules of the Kubernetes control plane",
        [str(go.go), "list", "-deps", "."],
        tick=lambda _: progress(f"fetching the sources of Kubernetes and etcd: {steps.elapsed(started)}"),
        environment=go.environment,
        log=work / "fetch.log",
        cwd=sources,
        noise=_is_package,
    )
    return frozenset(filter(_is_package, lines))


def _is_package(line: str) -> bool:
    return " " not in line  # everything else that Go says is a sentence


def _compile(sources: Path, go: Toolchain, output: Path, packages: frozenset[str], progress: Progress) -> None:
    started = time.monotonic()

    def tick(lines: Sequence[str]) -> None:
        done = sum(line in packages for line in lines)
        progress(
            "building the Kubernetes control plane (once, about 4 minutes on two cores): "
            f"{done} of {len(packages)} packages, {steps.elapsed(started)}"
        )

    steps.run(
        "Building the Kubernetes control plane",
        [str(go.go), "build", "-v", "-ldflags", _link_flags(sources), "-o", str(output), "."],
        tick=tick,
        environment=go.environment,
        log=output.parent.parent / "build.log",
        cwd=sources,
        noise=packages.__contains__,
    )


def _link_flags(sources: Path) -> str:
    """No symbols, and the version that the API server and kubectl shall show."""
    version = _directive(sources, "k8s.io/kubernetes")
    if not version:
        return "-s -w"
    major, minor, *_ = toolchain.numbers(version)
    values = {"gitVersion": version, "gitMajor": major, "gitMinor": minor}
    return "-s -w " + " ".join(f"-X k8s.io/component-base/version.{name}={value}" for name, value in values.items())


def _directive(sources: Path, name: str) -> str:
    found = re.search(rf"^\s*(?:require )?{re.escape(name)} (\S+)$", (sources / "go.mod").read_text(), re.MULTILINE)
    return found[1] if found else ""


def _publish(unfinished: Path, binary: Path) -> None:
    """Under its final name the binary is whole or absent, also after a crash of the machine."""
    descriptor = os.open(unfinished, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    binary.parent.mkdir(exist_ok=True)
    unfinished.rename(binary)


def main() -> int:
    """Build, show progress on stderr, print the binary's path."""
    show = steps.Display(sys.stderr)
    try:
        binary = build(show)
    except KeyboardInterrupt:
        show.close()
        sys.stderr.write("Interrupted; the next build goes on where this one stopped.\n")
        return 130
    except SecondsiteError as error:
        show.close()
        sys.stderr.write(f"{error}\n")
        return 1
    show.close()
    sys.stdout.write(f"{binary}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
