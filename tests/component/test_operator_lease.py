"""Of several operators one commands: the Lease on a real API server, by itself and between processes."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from secondsite.controller import login
from secondsite.controller.kube import LEASES, Kube
from secondsite.controller.lease import DURATION_SECONDS, NAME, Lease, LeaseLost
from secondsite.errors import Superseded
from secondsite.sandbox.control_plane import ControlPlane
from secondsite.sandbox.kubectl import Kubectl
from support.operator import OperatorProcess, until

VAULT = """
apiVersion: secondsite.dev/v1alpha1
kind: RecoveryVault
metadata: {name: vault}
spec: {}
"""

Start = Callable[[], OperatorProcess]


@pytest.fixture
async def kube(control_plane: ControlPlane) -> AsyncIterator[Kube]:
    async with Kube(login.of_file(control_plane.kubeconfig()), timeout=5) as kube:
        yield kube


async def eventually(ask: Callable[[], bool], what: str, seconds: float = 20.0) -> None:
    async with asyncio.timeout(seconds):
        while not ask():
            await asyncio.sleep(0.02)
    assert ask(), what


class Clock:
    """A monotonic clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


async def take(lease: Lease, clock: Clock) -> None:
    """One round of `run`, at this moment."""
    await lease._attempt(clock.now)
    lease._tell()


async def test_the_first_takes_it_and_the_second_waits_until_it_is_free(kube: Kube, namespace: str) -> None:
    clock, heard = Clock(), list[bool]()
    first = Lease(kube, namespace, "cluster", heard.append, steady=clock)
    second = Lease(kube, namespace, "cluster", steady=clock)
    await take(first, clock)
    await take(second, clock)
    assert (first.held, second.held, first.term, heard) == (True, False, 1, [True])

    clock.now += DURATION_SECONDS - 1
    await take(second, clock)
    assert not second.held, "the first may still command"
    clock.now += 1.5
    assert not first.held, "what was not renewed is not held"
    await take(second, clock)
    assert (second.held, second.term) == (True, 2)
    with pytest.raises(LeaseLost):
        await take(first, clock)
    assert not first.held


async def test_a_renewal_keeps_the_term_and_a_rise_survives_it(kube: Kube, namespace: str) -> None:
    clock = Clock()
    lease = Lease(kube, namespace, "cluster", steady=clock)
    await take(lease, clock)
    await lease.raise_term(17)
    await take(lease, clock)
    await lease.raise_term(3)
    assert lease.term == 17
    assert (await kube.get(LEASES, namespace, NAME))["spec"]["leaseTransitions"] == 17


async def test_without_the_lease_no_term_is_raised(kube: Kube, namespace: str) -> None:
    clock = Clock()
    first, second = (Lease(kube, namespace, "cluster", steady=clock) for _ in range(2))
    with pytest.raises(Superseded):
        await first.raise_term(5)
    await take(first, clock)
    body = await kube.get(LEASES, namespace, NAME)
    body["spec"]["holderIdentity"] = second.holder
    await kube.replace(LEASES, namespace, NAME, body)
    with pytest.raises(Superseded):
        await first.raise_term(5)


async def test_a_deleted_lease_is_taken_again_with_a_term_that_was_never_held(kube: Kube, namespace: str) -> None:
    clock = Clock()
    lease = Lease(kube, namespace, "cluster", steady=clock)
    await take(lease, clock)
    await lease.raise_term(9)
    await kube.delete(LEASES, namespace, NAME)
    await take(lease, clock)
    assert lease.held
    assert (await kube.get(LEASES, namespace, NAME))["spec"]["leaseTransitions"] == 10


async def test_who_lets_it_go_need_not_be_waited_for(kube: Kube, namespace: str) -> None:
    clock = Clock()
    first, second = (Lease(kube, namespace, "cluster", steady=clock) for _ in range(2))
    await take(first, clock)
    await first.release()
    assert not first.held
    await take(second, clock)
    assert (second.held, second.term) == (True, 2)


async def test_a_renewal_that_fails_stops_commands_at_once_and_the_next_one_resumes_them(
    control_plane: ControlPlane, namespace: str
) -> None:
    heard: list[bool] = []
    async with Kube(login.of_file(control_plane.kubeconfig()), timeout=5) as kube:
        lease = Lease(kube, namespace, "cluster", heard.append)
        async with asyncio.TaskGroup() as group:
            running = group.create_task(lease.run())
            await eventually(lambda: heard == [True], "held")
            server = kube.login.server
            object.__setattr__(kube.login, "server", "https://127.0.0.1:1")
            await eventually(lambda: heard == [True, False], "stopped", DURATION_SECONDS - 1)
            object.__setattr__(kube.login, "server", server)
            await eventually(lambda: heard == [True, False, True], "resumed")
            assert lease.term == 1
            running.cancel()


@pytest.fixture
def start(cluster: ControlPlane, namespace: str, tmp_path: Path) -> Iterator[Start]:
    running: list[OperatorProcess] = []

    def start() -> OperatorProcess:
        operator = OperatorProcess(cluster.kubeconfig(), namespace, tmp_path)
        operator.start()
        running.append(operator)
        return operator

    yield start
    for operator in running:
        if operator.running:
            operator.kill()


def test_of_two_operators_only_one_acts_and_the_other_takes_over(start: Start, kubectl: Kubectl) -> None:
    first = start()
    until(first.leads, "the first leads")
    second = start()
    until(second.ready, "a standby is ready")
    kubectl.apply(VAULT)
    until(lambda: first.metric('secondsite_status_writes_total{controller="RecoveryVault"}'), "the first writes")
    assert second.metric("secondsite_operator_leader") == 0.0
    assert not any(name.startswith("secondsite_status_writes_total") for name in second.metrics())

    first.kill()
    until(second.leads, "the second leads", 20)
    until(second.ready, "and has verified everything")
    assert kubectl.json("get", "lease", NAME)["spec"]["leaseTransitions"] == 2
    kubectl("patch", "vault", "vault", "--type=merge", "-p", '{"spec":{"deletionDeadlineMinutes":9}}')
    until(lambda: kubectl.json("get", "vault", "vault")["status"]["observedGeneration"] == 2, "it is served")


def test_an_operator_that_slept_through_its_lease_ends(start: Start, kubectl: Kubectl) -> None:
    sleeper = start()
    until(sleeper.leads, "it leads")
    assert sleeper._process
    os.kill(sleeper._process.pid, signal.SIGSTOP)
    other = start()
    until(other.leads, "the other leads", 20)
    os.kill(sleeper._process.pid, signal.SIGCONT)
    assert sleeper.wait() == 3
    assert sleeper.logged("lease_lost")
    assert other.leads()


def test_an_operator_whose_lease_is_deleted_goes_on(start: Start, kubectl: Kubectl) -> None:
    operator = start()
    until(operator.leads, "it leads")
    kubectl("delete", "lease", NAME)
    until(lambda: kubectl("get", "lease", NAME, check=False).returncode == 0, "the Lease is there again")
    until(operator.leads, "it leads again")
    assert kubectl.json("get", "lease", NAME)["spec"]["leaseTransitions"] == 2


def test_an_operator_that_is_told_to_end_hands_over_at_once(start: Start, kubectl: Kubectl) -> None:
    first = start()
    until(first.leads, "the first leads")
    second = start()
    until(second.ready, "a standby is ready")
    assert first.stop() == 0
    assert kubectl.json("get", "lease", NAME)["spec"]["holderIdentity"] != first.logged("started")[0]["holder"]
    until(second.leads, "the second leads", DURATION_SECONDS)
