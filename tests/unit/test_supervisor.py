"""The supervisor on real processes, and its policy on plain numbers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from secondsite.sandbox import janitor
from secondsite.sandbox.supervisor import Program, ProgramError, RestartPolicy, Supervisor
from secondsite.sandbox.world import Plan, World

# Says its pid, then sleeps for ever.
SLEEPER = [sys.executable, "-c", "import os, signal; print(os.getpid(), flush=True); signal.pause()"]


def until(true: Callable[[], object], what: str, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"waited {seconds} s for: {what}"
        time.sleep(0.02)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_the_first_deaths_are_answered_at_once_and_more_of_them_ever_later() -> None:
    policy = RestartPolicy()
    assert [policy.pause(0.5, now) for now in range(4)] == [0, 0, 0, 0]
    assert [policy.pause(0.5, 4 + n * 2) for n in range(7)] == [1, 2, 4, 8, 16, 30, 30]


def test_deaths_that_are_far_apart_do_not_add_up() -> None:
    policy = RestartPolicy()
    assert [policy.pause(3.0, now * 3.0) for now in range(30)] == [0] * 30


def test_a_long_life_is_forgiven() -> None:
    policy = RestartPolicy()
    pauses = [policy.pause(0.1, n * 0.1) for n in range(6)]
    assert pauses[-1] > 0
    assert policy.pause(60.0, 100.0) == 0


def test_what_is_killed_comes_back_and_what_is_stopped_does_not(tmp_path: Path) -> None:
    with Supervisor() as supervisor:
        program = supervisor.start(Program("sleeper", SLEEPER, log=tmp_path / "log"))
        until((tmp_path / "log").read_text, "its first word")
        first = program.kill()
        until(lambda: program.pid not in (None, first), "another incarnation")
        second = program.pid
        assert program.restarts == 1
        assert second is not None
        assert not alive(first)
    assert program.pid is None
    assert not alive(second)
    with pytest.raises(ProgramError, match="sleeper is not running"):
        program.kill()


def test_what_ignores_sigterm_is_stopped_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("secondsite.sandbox.supervisor._GRACE_SECONDS", 0.2)
    stubborn = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); signal.pause()"
    with Supervisor() as supervisor:
        program = supervisor.start(Program("stubborn", [sys.executable, "-c", stubborn], log=tmp_path / "log"))
        until((tmp_path / "log").read_text, "its word")
        pid = program.pid
    assert pid is not None
    assert not alive(pid)


def test_what_cannot_start_is_tried_again_and_says_why(tmp_path: Path) -> None:
    with Supervisor() as supervisor:
        program = supervisor.start(Program("nothing", [str(tmp_path / "nothing")], log=tmp_path / "log"))
        until(lambda: program.restarts >= 4, "four restarts")
        assert "FileNotFoundError" in program.tail()


def test_programs_and_folder_do_not_outlive_a_parent_that_was_killed(tmp_path: Path) -> None:
    folder = tmp_path / "world"
    folder.mkdir()
    script = textwrap.dedent(f"""
        import signal, subprocess, sys
        from pathlib import Path
        from secondsite.sandbox.supervisor import Program, Supervisor
        janitor = subprocess.Popen([sys.executable, "-I", "-S", {janitor.__file__!r}, {str(folder)!r}],
                                   stdin=subprocess.PIPE, process_group=0)
        program = Supervisor().start(Program("sleeper", {SLEEPER!r}, log=Path({str(folder)!r}) / "log"))
        print(program.pid, janitor.pid, flush=True)
        signal.pause()
    """)
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout
    program, cleaner = map(int, parent.stdout.readline().split())
    until(lambda: (folder / "log").read_text().strip() == str(program), "the program's word")
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    until(lambda: not alive(program), "the program's end")
    until(lambda: not folder.exists(), "the folder's end")
    until(lambda: not alive(cleaner), "the janitor's end")


def test_a_program_that_cannot_be_started_says_so_instead_of_waiting_for_ever(tmp_path: Path) -> None:
    program = Program("agent", [sys.executable, "-c", "pass"], log=tmp_path / "missing" / "agent.log")
    with pytest.raises(ProgramError, match=r"Starting agent failed.*missing"):
        program.start()
    program.stop()


def test_a_wrong_plan_leaves_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="missing"):
        World(Plan(manifests=tmp_path / "missing"))
    assert list(tmp_path.iterdir()) == []
