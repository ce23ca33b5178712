"""The sites that the suite runs against, and a VM for each test that gives it back as it was."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from support.driver_rig import Rig
from support.driver_rig_vm import THERE, Member, associate, borrowed
from support.driver_rigs import RIGS


@pytest.fixture(scope="session")
def started() -> Iterator[dict[str, Rig]]:
    """Rigs that run, by name. They stay up until the end: to start them again for each module would take longest."""
    rigs: dict[str, Rig] = {}
    yield rigs
    for rig in rigs.values():
        rig.stop()


@pytest.fixture(params=list(RIGS))
def sites(request: pytest.FixtureRequest, started: dict[str, Rig], tmp_path_factory: pytest.TempPathFactory) -> Rig:
    """Two sites of a driver."""
    name = request.param
    if name not in started:
        started[name] = RIGS[name](tmp_path_factory.mktemp(name))
        started[name].start()
    return started[name]


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
