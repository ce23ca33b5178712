"""The bandwidth limit: what went over the wire, by what was allowed."""

from collections.abc import Iterator
from pathlib import Path

from bench.agents import agents
from bench.world import MEBIBYTE, World

RATES = (20_000_000, 100_000_000)
_SECONDS = 3


def shares(folder: Path) -> Iterator[tuple[int, float]]:
    """(rate in bytes per second, share of it that was used) of an initial copy each."""
    for rate in RATES:
        data = rate * _SECONDS // MEBIBYTE * MEBIBYTE
        own = folder / f"limit-{rate}"
        own.mkdir()
        # What compression saves would be no bandwidth used, and no error.
        world = World(own, 2 * data, data, compressible=False)
        with agents(world, rate=rate) as pair:
            pair.start_over()
            result = pair.cycle()
            if not pair.same():
                raise RuntimeError(f"limited to {rate} bytes/s: the output differs from the source")
        yield rate, result.wire_bytes / result.seconds / rate
