"""The demo as a user runs it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from secondsite.sandbox.addresses import free_loopback
from support.leftovers import Cage

pytestmark = [pytest.mark.xdist_group("e2e"), pytest.mark.usefixtures("binary")]

CLAIMS = [
    "All 3 VMs become Protected",
    "The reported lag is never smaller than the true one",
    "After delta cycles, each recovery point is byte-identical",
    "After SIGKILL the operator verifies every object again",
    "The restart begins no work twice",
    "Test VMs run from recovery points and answer their checks",
    "A test failover cleans up after itself",
    "The test touches neither production nor replication",
    "After the test failover, each recovery point is byte-identical",
]

LISTENER = """
import signal, socket, sys
listener = socket.create_server((sys.argv[1], 8443))
print(flush=True)
signal.pause()
"""


@pytest.mark.timeout(480)
def test_the_demo_ends_with_its_verdict_and_leaves_nothing(tmp_path: Path) -> None:
    cage = Cage(tmp_path)
    where = [f"--endpoint={site}=https://{free_loopback()}:8443" for site in ("newyork", "chicago")]
    command = [sys.executable, "-m", "secondsite.cli.main", "demo", *where]
    done = subprocess.run(command, env=cage.environment, capture_output=True, text=True, check=False, timeout=420)
    told = done.stdout
    assert done.returncode == 0, told[-4000:] + done.stderr[-2000:]
    assert done.stderr == ""
    assert "Every claim held." in told
    words = " ".join(told.split())
    table = words[words.index("Claim Measured Held") :]
    rows = re.findall(r"\b(yes|NO)\b", table)
    assert rows == ["yes"] * len(CLAIMS)
    for number in range(1, 8):
        assert f"== {number}/7" in told
    for claim in CLAIMS:
        # The table breaks lines between words, with the next columns' words in between.
        assert claim.split()[0] in table
    assert cage.processes() == []
    assert cage.files() == []


def test_a_taken_address_is_refused_naming_its_holder(tmp_path: Path) -> None:
    cage, host = Cage(tmp_path), free_loopback()
    with subprocess.Popen([sys.executable, "-c", LISTENER, host], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout
        holder.stdout.readline()
        where = [f"--endpoint=newyork=https://{host}:8443", f"--endpoint=chicago=https://{free_loopback()}:8443"]
        command = [sys.executable, "-m", "secondsite.cli.main", "demo", *where]
        done = subprocess.run(command, env=cage.environment, capture_output=True, text=True, check=False, timeout=60)
        holder.kill()
    assert done.returncode == 1
    said = done.stdout + done.stderr
    assert f"{host}:8443 cannot be listened on" in " ".join(said.split())
    assert f"process {holder.pid}" in " ".join(said.split())
    assert "Traceback" not in said
    assert cage.processes() == []
    assert cage.files() == []
