"""QEMU's own change tracking without a guest: a storage daemon with a dirty bitmap, spoken to over QMP."""

import contextlib
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.peers import qemu_nbd, server, tool

_START_SECONDS = 10.0
_BLOCK = 65536


class StorageDaemon:
    """The disk behind `guest`, a socket for NBD; its bitmap; a job that sends what the bitmap has."""

    def __init__(self, guest: Path, monitor: socket.socket) -> None:
        self._guest = guest
        self._lines = monitor.makefile("rwb", 0)
        json.loads(self._lines.readline())
        self._do("qmp_capabilities")

    def track(self, target_port: int) -> None:
        """Start the bitmap, and connect the server that holds the copy."""
        server = {"type": "inet", "host": "127.0.0.1", "port": str(target_port)}
        nbd = {"driver": "nbd", "server": server}
        self._do("blockdev-add", **{"node-name": "target", "driver": "raw", "file": nbd})
        self._do("block-dirty-bitmap-add", node="disk", name="dirty", granularity=_BLOCK)

    def write(self, offsets: list[int], content: Path) -> None:
        """As a guest: one block from `content` at each offset."""
        script = "".join(f"write -q -s {content} {offset} {_BLOCK}\n" for offset in offsets)
        tool("qemu-io", "-f", "raw", *_each(script.splitlines()), f"nbd+unix:///disk?socket={self._guest}")

    def send(self) -> None:
        """What changed since the last time."""
        self._do(
            "blockdev-backup",
            **{"job-id": "delta", "device": "disk", "target": "target", "sync": "incremental", "bitmap": "dirty"},
        )
        while True:
            event = json.loads(self._lines.readline())
            if event.get("event") == "BLOCK_JOB_COMPLETED":
                if "error" in event["data"]:
                    raise RuntimeError(f"the backup job failed: {event['data']['error']}")
                return

    def _do(self, command: str, **arguments: Any) -> None:
        self._lines.write(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")
        while True:
            answer = json.loads(self._lines.readline())
            if "error" in answer:
                raise RuntimeError(f"{command}: {answer['error']}")
            if "return" in answer:
                return


def _each(commands: list[str]) -> list[str]:
    return [word for command in commands for word in ("-c", command)]


@contextlib.contextmanager
def storage_daemon(disk: Path, copy: Path) -> Iterator[StorageDaemon]:
    """Tracks `disk`; sends to a qemu-nbd with `copy`."""
    guest, control = disk.with_name("guest.sock"), disk.with_name("qmp.sock")
    command = (
        *(
            "--blockdev",
            f"driver=file,filename={disk},node-name=file",
            "--blockdev",
            "driver=raw,file=file,node-name=disk",
        ),
        *("--nbd-server", f"addr.type=unix,addr.path={guest}"),
        *("--export", "type=nbd,id=guest,node-name=disk,name=disk,writable=on"),
        *("--chardev", f"socket,id=qmp,path={control},server=on,wait=off", "--monitor", "chardev=qmp"),
    )
    with qemu_nbd(copy) as port, server("qemu-storage-daemon", *command), _connected(control) as monitor:
        daemon = StorageDaemon(guest, monitor)
        daemon.track(port)
        yield daemon


@contextlib.contextmanager
def _connected(path: Path) -> Iterator[socket.socket]:
    deadline = time.monotonic() + _START_SECONDS
    with socket.socket(socket.AF_UNIX) as monitor:
        while True:
            try:
                monitor.connect(str(path))
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
            else:
                break
        yield monitor
