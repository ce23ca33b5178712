"""`auto` on links that the kernel really slows: needs a network namespace of our own, so root and iproute2."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import support

# Packets of real networks, so that the kernel sees acknowledgements as often as there.
SLOWED = "ip link set lo mtu {mtu} up && tc qdisc add dev lo root tbf rate {rate} burst 512k latency 50ms && {run}"


def measured(rate: str, mtu: int, folder: Path) -> dict[str, float]:
    tests = Path(next(iter(support.__path__))).parent
    run = f"cd {tests} && PYTHONPATH=.:../operator {sys.executable} -m support.engine_link {folder}"
    command = ["unshare", "--net", "sh", "-c", SLOWED.format(rate=rate, mtu=mtu, run=run)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)  # our words only
    return dict(json.loads(done.stdout))


def can_slow_links() -> bool:
    if not all(shutil.which(program) for program in ("unshare", "ip", "tc")):
        return False
    command = ["unshare", "--net", "sh", "-c", SLOWED.format(rate="1gbit", mtu=1500, run="true")]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0  # as above


needs_namespace = pytest.mark.skipif(not can_slow_links(), reason="needs root, unshare and tc with the tbf discipline")


@needs_namespace
def test_a_link_of_400_megabits_is_seen_and_used_with_compression(tmp_path: Path) -> None:
    found = measured("400mbit", 1500, tmp_path)
    assert found["same"]
    assert 15e6 < found["rate"] < 60e6
    assert found["wire_bytes"] < 0.8 * found["bytes"]


@needs_namespace
def test_a_link_of_ten_gigabits_is_quicker_than_the_compressor(tmp_path: Path) -> None:
    found = measured("10gbit", 9000, tmp_path)
    assert found["same"]
    assert found["rate"] > 390e6
    assert found["wire_bytes"] > found["bytes"]
