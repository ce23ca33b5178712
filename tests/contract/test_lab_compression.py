"""The policy's `compression` decides what goes over the wire, from the next frame on."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from secondsite.agent.lab.engine import BLOCK_BYTES, SourceDisk, TokenBucket
from secondsite.wire.agent import NO_FENCE
from secondsite.wire.agent import Settings as SiteSettings
from secondsite.wire.arguments import UpdateSettings
from secondsite.wire.operations import Verb
from support.lab import SETTINGS, LabPair, running_pair
from support.lab_centres import WEB, source_centre

BLOCKS = 80
LIMIT = 200 << 20


class CountingBucket(TokenBucket):
    def __init__(self) -> None:
        super().__init__(LIMIT)
        self.bytes = 0

    def take(self, count: int, stop: threading.Event) -> None:
        self.bytes += count
        super().take(count, stop)


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[LabPair]:
    # Words for more than half of the disk: as news they would ask for a resynchronization.
    roomy = source_centre() | {"knobs": {"retrySeconds": 30, "logLimitPercent": 100}}
    async with running_pair(tmp_path, source=roomy) as found:
        yield found


def disk(pair: LabPair) -> SourceDisk:
    (only,) = pair.source.driver._at.estate.guests[WEB].disks.values()
    return only


async def sent(pair: LabPair, text: bytes) -> int:
    """What goes over the wire for 80 blocks of the same words."""
    bucket = CountingBucket()
    pair.source.driver._at.estate.lines.bucket = bucket
    await pair.more_cycles(1)
    before = bucket.bytes
    found = disk(pair)
    found.write(found.size - BLOCKS * BLOCK_BYTES, (text * (BLOCKS * BLOCK_BYTES))[: BLOCKS * BLOCK_BYTES])
    await pair.more_cycles(2)
    return bucket.bytes - before


async def test_the_setting_of_the_policy_is_followed(pair: LabPair) -> None:
    await pair.source.driver.apply(SiteSettings(fence=NO_FENCE, bandwidth_limit_bytes_per_second=LIMIT))
    await pair.protect(settings=SETTINGS.model_copy(update={"compression": False}))
    assert await sent(pair, b"raw words ") > BLOCKS * BLOCK_BYTES
    for wish in (True, False):
        changed = SETTINGS.model_copy(update={"compression": wish})
        await pair.source.do(Verb.UPDATE_SETTINGS, WEB, UpdateSettings(settings=changed))
        count = await sent(pair, b"packed words " if wish else b"raw again ")
        assert (count < BLOCKS * BLOCK_BYTES / 2) is wish
