"""The programs that the engine is compared with: where they come from, and their servers on loopback."""

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from bench.machine import version_of

_START_SECONDS = 10.0
_STOP_SECONDS = 10.0

# Program: Debian's package of it.
PACKAGES = {
    "rsync": "rsync",
    "qemu-img": "qemu-utils",
    "qemu-nbd": "qemu-utils",
    "qemu-io": "qemu-utils",
    "qemu-storage-daemon": "qemu-system-common",
    "nbdkit": "nbdkit",
    "nbdcopy": "libnbd-bin",
    "cp": "coreutils",
}


def missing(programs: tuple[str, ...]) -> list[str]:
    """The packages to install for these programs; empty when all are here."""
    return sorted({PACKAGES[program] for program in programs if shutil.which(program) is None})


def versions() -> dict[str, str]:
    return {
        name: version_of([name, "--version"])
        for name in ("rsync", "qemu-img", "qemu-storage-daemon", "nbdkit", "nbdcopy", "cp")
        if shutil.which(name)
    }


def tool(*command: str | Path) -> None:
    """Run a program to its end; what it says is shown only when it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]} ended with {done.returncode}: {done.stderr.strip()[-500:]}")


@contextlib.contextmanager
def server(*command: str | Path) -> Iterator[None]:
    """A program that stays in the foreground; it is ended when the block is."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait(_STOP_SECONDS)


@contextlib.contextmanager
def rsync_daemon(folder: Path) -> Iterator[str]:
    """The address of `folder`, for writing."""
    port, settings = free_port(), folder.with_name("rsyncd.conf")
    settings.write_text(
        f"use chroot = no\nuid = {os.getuid()}\ngid = {os.getgid()}\n"
        f"[bench]\npath = {folder}\nread only = no\nmax verbosity = 0\n",
        encoding="utf-8",
    )
    with server("rsync", "--daemon", "--no-detach", f"--config={settings}", "--address=127.0.0.1", f"--port={port}"):
        wait_for_port(port)
        yield f"rsync://127.0.0.1:{port}/bench/"


@contextlib.contextmanager
def qemu_nbd(image: Path) -> Iterator[int]:
    """The port at which `image`, opened now, is served."""
    port = free_port()
    with server("qemu-nbd", "--persistent", "--format=raw", "--bind=127.0.0.1", f"--port={port}", image):
        wait_for_port(port)
        yield port


@contextlib.contextmanager
def nbdkit(image: Path) -> Iterator[int]:
    """The port at which `image` is served; it is opened at each connection."""
    port = free_port()
    with server("nbdkit", "--foreground", "--ipaddr=127.0.0.1", f"--port={port}", "file", image):
        wait_for_port(port)
        yield port


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def wait_for_port(port: int) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return
