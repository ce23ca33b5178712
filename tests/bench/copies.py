"""The initial copy: 2 GiB, half of it holes, to durable output."""

import contextlib
from collections.abc import Iterator

from bench.agents import Agents
from bench.contest import Contest
from bench.peers import nbdkit, qemu_nbd, rsync_daemon, tool
from bench.world import World, sync_file

ENGINE = "Secondsite, initial copy"
ENGINE_TLS = "Secondsite, initial copy, mutual TLS"
RSYNC = "rsync daemon, -W -S"
QEMU = "qemu-img convert to qemu-nbd"
NBDCOPY = "nbdcopy to nbdkit"
CP = "cp --sparse=always, local"

NEEDS = {
    RSYNC: ("rsync",),
    QEMU: ("qemu-img", "qemu-nbd"),
    NBDCOPY: ("nbdcopy", "nbdkit"),
    CP: ("cp",),
}


def engine(pair: Agents, name: str = ENGINE) -> Contest:
    return Contest(name, prepare=pair.start_over, run=pair.cycle, same=pair.same, fills_memory=True)


@contextlib.contextmanager
def rsync(world: World) -> Iterator[Contest]:
    with rsync_daemon(world.output) as address:

        def prepare() -> None:
            world.read_source()
            for path in world.output.iterdir():
                path.unlink()

        def run() -> None:
            tool("rsync", "-W", "-S", world.source, f"{address}copy.raw")
            sync_file(world.copy)

        world.clear()
        yield Contest(RSYNC, prepare, run, world.copied, fills_memory=True)


@contextlib.contextmanager
def qemu(world: World) -> Iterator[Contest]:
    with contextlib.ExitStack() as served:
        port = 0

        def prepare() -> None:
            nonlocal port
            world.read_source()
            served.close()
            world.clear_for_tool()
            # It keeps its image open: a new image needs a new server.
            port = served.enter_context(qemu_nbd(world.copy))

        def run() -> None:
            options = ("-n", "--target-is-zero", "-f", "raw", "-O", "raw")
            tool("qemu-img", "convert", *options, world.source, f"nbd://127.0.0.1:{port}")
            sync_file(world.copy)

        yield Contest(QEMU, prepare, run, world.copied, fills_memory=True)


@contextlib.contextmanager
def nbdcopy(world: World) -> Iterator[Contest]:
    world.clear_for_tool()
    with nbdkit(world.copy) as port:

        def prepare() -> None:
            world.read_source()
            world.clear_for_tool()

        def run() -> None:
            tool("nbdcopy", "--destination-is-zero", "--flush", world.source, f"nbd://127.0.0.1:{port}")
            sync_file(world.copy)

        yield Contest(NBDCOPY, prepare, run, world.copied, fills_memory=True)


@contextlib.contextmanager
def cp(world: World) -> Iterator[Contest]:
    def prepare() -> None:
        world.read_source()
        world.clear()

    def run() -> None:
        tool("cp", "--sparse=always", world.source, world.copy)
        sync_file(world.copy)

    yield Contest(CP, prepare, run, world.copied, fills_memory=True)
