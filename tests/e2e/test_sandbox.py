"""The sandbox as a user runs it: it comes up, is used with kubectl, and goes, however it ends."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from secondsite.sandbox.addresses import free_loopback
from secondsite.sandbox.control_plane import ControlPlane
from secondsite.sandbox.credentials import NAME as CONTEXT
from support.leftovers import Cage, until

pytestmark = [pytest.mark.xdist_group("e2e"), pytest.mark.usefixtures("binary")]

UP_SECONDS = 120


class Sandbox:
    """A running `secondsite sandbox`."""

    def __init__(self, cage: Cage, *options: str) -> None:
        where = [f"--endpoint={site}=https://{free_loopback()}:8443" for site in ("newyork", "chicago")]
        command = [sys.executable, "-m", "secondsite.cli.main", "sandbox", *where, *options]
        self.process = subprocess.Popen(
            command, env=cage.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self._lines: list[str] = []
        self._environment = dict(cage.environment)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def told(self) -> str:
        return "".join(self._lines)

    def await_up(self) -> None:
        until(lambda: "Ctrl-C ends it all" in self.told or self.process.poll() is not None, "its greeting", UP_SECONDS)
        assert self.process.poll() is None, self.told
        for name, value in re.findall(r"^ *export (\w+)=(\S+)$", self.told, re.MULTILINE):
            self._environment[name] = value.replace("$PATH", self._environment["PATH"])

    def kubectl(self, command: str, *, ok: bool = True) -> str:
        """As a person types it after the exports."""
        done = subprocess.run(
            ["sh", "-c", command], env=self._environment, capture_output=True, text=True, check=False, timeout=120
        )
        assert (done.returncode == 0) == ok, done.stdout + done.stderr
        return done.stdout

    def end(self, number: int, seconds: float = 60) -> int:
        self.process.send_signal(number)
        code = self.process.wait(seconds)
        self._reader.join()
        return code

    def _read(self) -> None:
        assert self.process.stdout
        self._lines.extend(self.process.stdout)
        self.process.stdout.close()


@contextmanager
def sandbox(cage: Cage, *options: str) -> Iterator[Sandbox]:
    started = Sandbox(cage, *options)
    try:
        yield started
    finally:
        if started.process.poll() is None:
            started.end(signal.SIGINT)


@pytest.mark.timeout(300)
def test_the_sandbox_does_what_an_administrator_expects_and_ends_without_a_trace(tmp_path: Path) -> None:
    cage = Cage(tmp_path)
    with sandbox(cage) as it:
        it.await_up()
        it.kubectl(r"kubectl config set-context --current --namespace recovery")
        it.kubectl("kubectl wait --for=condition=Protected pvm --all --timeout=120s")
        it.kubectl("kubectl wait --for=condition=Ready vault,site,rpol,netmap,pvm --all --timeout=60s")
        fleet = it.kubectl("kubectl get secondsite")
        for kind in ("recoveryvault", "vmmsite", "replicationpolicy", "networkmapping", "protectedvm"):
            assert f"{kind}.secondsite.dev/" in fleet
        web = it.kubectl("kubectl get pvm web01 --no-headers").split()
        assert web[:6] == ["web01", "web01", "newyork", "Protected", "True", "60"]
        assert "Protected" in it.kubectl("kubectl describe pvm web01")
        assert "Required." in it.kubectl("kubectl explain pvm.spec.policyRef")
        # The second of the things to try, word by word.
        for command in re.findall(r"(kubectl (?:create|wait) .*)$", it.told, re.MULTILINE):
            it.kubectl(command)
        assert it.kubectl("kubectl get tfo rehearsal -o jsonpath={.status.state}") == "Succeeded"
        # And the sixth.
        for words in re.findall(r"secondsite (lab [^#\n]*)", it.told):
            it.kubectl(f"{sys.executable} -m secondsite.cli.main {words}")
        until(lambda: "fault LinkDown at newyork: on" in it.told, "the fault in the table", 20)
        assert it.end(signal.SIGINT) == 0
        assert "nothing is left" in it.told
        assert "Traceback" not in it.told
    assert cage.processes() == []
    assert cage.files() == []


@pytest.mark.timeout(300)
def test_nothing_outlives_a_sandbox_that_was_killed(tmp_path: Path) -> None:
    cage = Cage(tmp_path)
    with sandbox(cage) as it:
        it.await_up()
        assert len(cage.processes()) >= 6
        it.end(signal.SIGKILL)
    until(lambda: not cage.processes(), "the end of every process", 60)
    assert cage.files() == []


@pytest.mark.timeout(120)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_nothing_outlives_a_sandbox_that_ends_while_it_starts(tmp_path: Path, number: int) -> None:
    cage = Cage(tmp_path)
    with sandbox(cage) as it:
        until(lambda: "starting the control plane" in it.told, "its first step", UP_SECONDS)
        it.end(number)
        assert "Traceback" not in it.told
    assert cage.processes() == []
    assert cage.files() == []


@pytest.mark.timeout(300)
def test_in_a_cluster_of_the_user_it_is_a_guest_that_tidies_up(tmp_path: Path, binary: Path) -> None:
    (tmp_path / "cage").mkdir()
    cage = Cage(tmp_path / "cage")
    with ControlPlane(tmp_path / "theirs", binary) as theirs:
        cage.environment["KUBECONFIG"] = str(theirs.kubeconfig())
        before = theirs.kubectl("get", "crd,namespace,clusterrole,clusterrolebinding", "-o", "name").stdout
        with sandbox(cage, "--context", CONTEXT) as it:
            it.await_up()
            theirs.kubectl("wait", "--for=condition=Protected", "pvm", "--all", "-n", "recovery", "--timeout=120s")
            assert it.end(signal.SIGINT, 150) == 0, it.told
        after = theirs.kubectl("get", "crd,namespace,clusterrole,clusterrolebinding", "-o", "name").stdout
        assert after == before
        theirs.kubectl("create", "namespace", "recovery")
        with sandbox(cage, "--context", CONTEXT) as second:
            assert second.process.wait(60) == 1
        assert "namespace/recovery already" in " ".join(second.told.split())
        assert "Traceback" not in second.told
        assert theirs.kubectl("get", "crd", "-o", "name").stdout == ""
    assert cage.processes() == []
    assert cage.files() == []
