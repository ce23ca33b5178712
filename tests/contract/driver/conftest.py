"""The sites that the suite runs against, and a VM for each test that gives it back as it was."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from support.driver_rig import Rig
from support.driver_rig_vm import THERE, Member, associate, borrowed
from support.driver_rigs import RIGS


@pytest.fixture(scope="session", params=list(RIGS))
def sites(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """Started once for all tests of a driver."""
    rig = RIGS[request.param](tmp_path_factory.mktemp(request.param))
    try:
        rig.start()
        yield rig
    finally:
        rig.stop()


@pytest.fixture
async def rig(sites: Rig) -> AsyncIterator[Rig]:
    """Two sites that settled and are associated, whatever the last test did to them."""
    for site in sites.sites:
        await site.settle()
    await associate(sites, sites.source, sites.target, THERE)
    yield sites
    for site in sites.sites:
        await site.line.hang_up()


@pytest.fixture
async def vm(rig: Rig) -> AsyncIterator[Member]:
    """A VM that is not replicated; released at the end, and nothing of it is left behind."""
    async with borrowed(rig) as member:
        yield member
