"""Operator and agent, both real: commands under a fence, and a site that falls silent; keys in a real API server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from secondsite.controller.agents import AgentClient
from secondsite.controller.kube import Kube
from secondsite.controller.login import find
from secondsite.errors import NotYet, SiteRefused, SiteUnreachable, Superseded
from secondsite.plan.actions import Command, CreateAuthority, Renew, Reserve
from secondsite.plan.observed import UNKNOWN
from secondsite.sandbox.control_plane import ControlPlane
from secondsite.wire.agent import NO_FENCE
from secondsite.wire.arguments import Nothing
from secondsite.wire.operations import OperationAnswer, OperationRequest, Verb
from secondsite.wire.problems import Code, Refusal
from secondsite.wire.resources import ReservationWish
from support.memory_driver import VM_ID, MemoryDriver
from support.patience import until
from support.site_side import NAMESPACE, Ends, Lease, agent_at, free_port, registered


@pytest.fixture
async def ends(control_plane: ControlPlane, namespace: str) -> AsyncIterator[Ends]:
    async with Kube(find(control_plane.kubeconfig())) as kube:
        made = Ends(kube, namespace, f"https://127.0.0.1:{free_port()}")
        yield made
        await made.side.close()


def suspend(intent: str, **changes: Any) -> Command:
    return Command("newyork", Verb.SUSPEND, VM_ID, intent, Nothing(), **changes)


async def test_a_site_registers_and_tells_everything(ends: Ends, tmp_path: Path) -> None:
    async with registered(ends, tmp_path):
        view = ends.view()
        assert view.info.registered
        assert view.site.vmm_name == "vmm1"
        assert view.vms_by_name["gold", "web"] == (VM_ID,)
        record = (await ends.keys()).registrations["newyork"]
        assert (record.serial, bool(record.bound_key)) == ("", True)
        assert ends.side.facts(NAMESPACE, "newyork").peer == "Agent"


async def test_certificates_are_renewed_over_the_old_one(ends: Ends, tmp_path: Path) -> None:
    async with registered(ends, tmp_path) as agent:
        before = agent.identity.key_fingerprint
        await ends.act(Renew("newyork"))
        await until(lambda: ends.view().known)
        assert agent.identity.key_fingerprint != before


async def test_a_command_is_begun_once_whoever_repeats_it(ends: Ends, tmp_path: Path) -> None:
    driver = MemoryDriver()
    async with registered(ends, tmp_path, driver) as agent:
        command = Command(
            "newyork", Verb.START_INITIAL_REPLICATION, VM_ID, "intent-1", Nothing(), expects=("Disabled",), epoch=1
        )
        receipt = await ends.act(command)
        await until(lambda: ends.side.reached(NAMESPACE, receipt))
        assert ends.view().half(VM_ID).state == "Replicating"
        with pytest.raises(NotYet, match="has succeeded"):
            await ends.act(command)
        await ends.restart()
        await until(lambda: ends.view().known)
        with pytest.raises(NotYet, match="has succeeded"):
            await ends.act(command)
        # As after a day, when the feed does not tell of it any more: the site itself still knows.
        ends.view().operations.clear()
        await ends.act(command)
        assert agent.operations.begun == 1


async def test_a_wrong_state_is_a_conflict_and_a_failure_is_tried_again_after_a_pause(
    ends: Ends, tmp_path: Path
) -> None:
    driver = MemoryDriver()
    async with registered(ends, tmp_path, driver) as agent:
        with pytest.raises(SiteRefused) as conflict:
            await ends.act(suspend("s", expects=("Replicating",)))
        assert conflict.value.code == "StateConflict"
        driver.fails = Refusal(Code.PEER_UNREACHABLE, "chicago does not answer")
        with pytest.raises(SiteRefused):
            await ends.act(suspend("s"))
        await until(lambda: bool(ends.view().operations.get(VM_ID)))
        driver.fails = None
        with pytest.raises(NotYet) as pause:
            await ends.act(suspend("s"))
        assert 0 < pause.value.delay <= 1
        assert agent.operations.begun == 1


async def test_the_fence_rises_above_another_operators_and_stops_without_the_lease(ends: Ends, tmp_path: Path) -> None:
    async with registered(ends, tmp_path) as agent:
        await ends.act(suspend("one"))
        other = Ends(ends.kube, ends.secrets, ends.endpoint, Lease(holder="operator-b", term=1))
        await until(lambda: other.view().known)
        await other.act(suspend("two"))
        assert agent.fences.highest is not None
        assert agent.fences.highest.holder == "operator-b"
        assert other.lease.term == 2
        await ends.act(suspend("three"))
        assert ends.lease.term == 3
        other.lease.held = False
        with pytest.raises(Superseded):
            await other.act(suspend("four"))
        foreign = Ends(ends.kube, ends.secrets, ends.endpoint, Lease(control_plane="cluster-2", term=9))
        await until(lambda: foreign.view().known)
        with pytest.raises(SiteRefused) as refused:
            await foreign.act(suspend("five"))
        assert refused.value.code == "ForeignControlPlane"
        await other.side.close()
        await foreign.side.close()


async def test_a_site_that_falls_silent_is_unknown_and_comes_back_whole(ends: Ends, tmp_path: Path) -> None:
    async with registered(ends, tmp_path):
        await ends.act(suspend("one"))
        await until(lambda: ends.view().half(VM_ID) is not None)
    await until(lambda: ends.view().contact.answer == "Unreachable")
    assert ends.view().half(VM_ID) is UNKNOWN
    assert ends.view().contact.reason in ("ConnectionRefused", "Disconnected")
    async with agent_at(ends.endpoint, tmp_path / "data"):
        await until(lambda: ends.view().known)
        assert ends.view().half(VM_ID) is None, "the new process said everything, and this was not in it"


async def test_a_stranger_at_the_address_is_named(ends: Ends, tmp_path: Path, control_plane: ControlPlane) -> None:
    async with registered(ends, tmp_path):
        await ends.side.close()
        control_plane.kubectl("delete", "secret", "-n", ends.secrets, f"{NAMESPACE}.vault-authority")
        ends.side = ends._new()
        await ends.act(CreateAuthority())
        await until(lambda: ends.view().contact.answer == "Unreachable")
        assert ends.side.facts(NAMESPACE, "newyork").peer == "Stranger"
        assert "vault" in ends.view().contact.message


async def test_resources_are_put_with_our_fence(ends: Ends, tmp_path: Path) -> None:
    async with registered(ends, tmp_path):
        wish = ReservationWish(fence=NO_FENCE, network="front", subnets=["10.0.0.0/24"])
        receipt = await ends.act(Reserve("newyork", VM_ID, "00:15:5D:00:00:01", wish))
        await until(lambda: ends.side.reached(NAMESPACE, receipt))
        assert ends.view().pools["front/a"].reserved == ((VM_ID, "00:15:5D:00:00:01", "10.0.0.10"),)


async def test_a_silent_site_costs_a_command_no_time(ends: Ends, tmp_path: Path) -> None:
    async with registered(ends, tmp_path):
        pass
    await until(lambda: ends.view().contact.answer == "Unreachable")
    with pytest.raises(SiteUnreachable, match="does not answer"):
        await ends.act(suspend("one"))


async def test_a_site_that_hangs_takes_half_of_the_workers_at_most(
    ends: Ends, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with registered(ends, tmp_path):
        hangs, held = asyncio.Event(), AgentClient.start

        async def hang(client: AgentClient, key: str, request: OperationRequest) -> OperationAnswer:
            await hangs.wait()
            return await held(client, key, request)

        monkeypatch.setattr(AgentClient, "start", hang)
        calls = [asyncio.create_task(ends.act(suspend(f"{n}"))) for n in range(10)]
        done, _ = await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
        assert all(isinstance(call.exception(), NotYet) for call in done)
        hangs.set()
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert sum(isinstance(outcome, NotYet) for outcome in outcomes) == 2


async def test_a_renewed_site_is_seen_with_its_new_certificate_at_once(ends: Ends, tmp_path: Path) -> None:
    async with registered(ends, tmp_path):
        mirror = ends.side._sites.mirror((NAMESPACE, "newyork"))
        before = mirror.peer
        await ends.act(Renew("newyork"))
        assert before is not None
        assert mirror.peer is not None
        assert mirror.peer.serial != before.serial
