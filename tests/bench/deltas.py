"""1 % of the disk changed: tracked, found by a scan of one side, found by reading both sides."""

import contextlib
from collections.abc import Iterator

from bench.agents import Agents
from bench.contest import Contest
from bench.peers import rsync_daemon, tool
from bench.qmp import storage_daemon
from bench.world import World, change, sync_file
from secondsite.wire.peer import HashBasis

TRACKED = "Secondsite, tracked"
TRACKED_TLS = "Secondsite, tracked, mutual TLS"
SCAN = "Secondsite, map lost: scan and send"
TWO_SIDED = "Secondsite, two-sided resync"
RSYNC = "rsync --inplace -B65536"
QEMU = "QEMU dirty-bitmap job to qemu-nbd"

NEEDS = {
    RSYNC: ("rsync",),
    QEMU: ("qemu-storage-daemon", "qemu-nbd", "qemu-io"),
}


def tracked(pair: Agents, name: str = TRACKED) -> Contest:
    """The pair has made its initial copy."""
    return Contest(name, prepare=pair.change, run=pair.cycle, same=pair.same)


def untracked(pair: Agents, name: str, basis: HashBasis) -> Contest:
    """The disk changed behind the tracker's back, and it knows that it may have."""

    def prepare() -> None:
        pair.sender.call("distrust")
        pair.world.change()
        pair.world.read_source()

    def run() -> None:
        pair.sender.call("compare", basis)
        pair.cycle()

    return Contest(name, prepare, run, pair.same)


@contextlib.contextmanager
def rsync(world: World) -> Iterator[Contest]:
    world.clone_source()
    with rsync_daemon(world.output) as address:

        def prepare() -> None:
            world.change()
            world.read_source()

        def run() -> None:
            # -I: within a second of the last change its quick check would find nothing to do.
            tool("rsync", "-I", "--no-whole-file", "--inplace", "-B65536", world.source, f"{address}copy.raw")
            sync_file(world.copy)

        yield Contest(RSYNC, prepare, run, world.copied)


@contextlib.contextmanager
def qemu(world: World) -> Iterator[Contest]:
    world.clone_source()
    content = world.folder / "block"
    with storage_daemon(world.source, world.copy) as daemon:

        def prepare() -> None:
            written = list(change(next(world.changes), world.source))
            content.write_bytes(written[0][1])
            daemon.write([offset for offset, _ in written], content)
            sync_file(world.source)
            world.read_source()

        def run() -> None:
            daemon.send()
            sync_file(world.copy)

        yield Contest(QEMU, prepare, run, world.copied)
