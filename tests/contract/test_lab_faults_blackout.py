"""What happens to VMs while the management service restarts."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.lab import running_pair
from support.lab_centres import WEB
from support.patience import until


@pytest.mark.parametrize("fault", ["HostCrash", "DiskTouchedOffline"])
@pytest.mark.timeout(60)
async def test_what_befalls_a_vm_in_a_blackout_does_not_make_it_last(tmp_path: Path, fault: str) -> None:
    async with running_pair(tmp_path) as pair:
        await pair.protect()
        blackout = {"after": "0s", "fault": "VMMSRestart", "value": 1}
        await pair.source.ask(ask="fault", schedule=[blackout, {"after": "300ms", "fault": fault, "vm": WEB}])
        await until(lambda: pair.source.driver.state(WEB) == "WaitingForStartResynchronize")
        await until(pair.source.driver.settled)
        assert (await pair.source.ask(ask="faults"))["faults"] == []
