"""The root of the command line: help without libraries, errors without tracebacks."""

from __future__ import annotations

import subprocess
import sys

import pytest
from click.testing import CliRunner

from secondsite.cli.main import COMMANDS, main

# Stands in for a machine on which some packages are not installed.
WITHOUT = """
import sys
class Without:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {absent!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Without())
from secondsite.cli.main import main
main({arguments!r}, prog_name="secondsite")
"""
OPERATORS = ("kopf", "prometheus_client")
AGENTS = ("numpy", "xxhash", "blake3", "zstandard")


def without(absent: tuple[str, ...], *arguments: str) -> subprocess.CompletedProcess[str]:
    script = WITHOUT.format(absent=absent, arguments=list(arguments))
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60)


def test_help_names_every_command_and_loads_none() -> None:
    everything = ("aiohttp", "cryptography", "kubernetes", "rich", *OPERATORS, *AGENTS)
    done = without(everything, "--help")
    assert done.returncode == 0, done.stderr
    for name, entry in COMMANDS.items():
        assert f"  {name} " in done.stdout
        assert entry.summary.split()[0] in done.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str) -> None:
    done = CliRunner().invoke(main, [command, "--help"])
    assert done.exit_code == 0, done.output
    assert "Usage:" in done.output


def test_a_site_needs_no_library_of_the_operator() -> None:
    nowhere = ("--data", "/proc/nonexistent", "--site-file", "/proc/nonexistent.yaml")
    done = without((*OPERATORS, "kubernetes"), "agent", "run", *nowhere)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "/proc/nonexistent" in done.stderr


def test_a_cluster_needs_no_library_of_the_engine() -> None:
    done = without((*AGENTS, "kubernetes"), "operator", "run", "--kubeconfig", "/nonexistent")
    assert "Traceback" not in done.stderr
    assert "/nonexistent" in done.stderr
    assert done.returncode == 1


@pytest.mark.parametrize(
    ("absent", "arguments", "extra"),
    [
        (OPERATORS, ("operator", "run"), "secondsite[operator]"),
        (OPERATORS, ("demo",), "secondsite[sandbox]"),
        (AGENTS, ("agent", "run", "--data", "/nonexistent", "--site-file", "/nonexistent"), "secondsite[agent]"),
    ],
)
def test_a_missing_library_is_named_with_the_extra_that_brings_it(
    absent: tuple[str, ...], arguments: tuple[str, ...], extra: str
) -> None:
    done = without(absent, *arguments)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert f"pip install '{extra}'" in " ".join(done.stderr.split())


def test_an_error_is_one_paragraph_unless_the_traceback_is_asked_for() -> None:
    plain = without((), "operator", "run", "--kubeconfig", "/nonexistent")
    assert plain.returncode == 1
    assert "Traceback" not in plain.stderr
    debug = without((), "--debug", "operator", "run", "--kubeconfig", "/nonexistent")
    assert "Traceback" in debug.stderr
