"""Chapter 6: a test failover beside production, which notices nothing."""

from __future__ import annotations

import json
from typing import Any

from secondsite.api.testfailover import TEST_FAILOVER
from secondsite.sandbox import assets
from secondsite.sandbox.eyes import Body, condition
from secondsite.sandbox.stage import VM, Stage
from secondsite.wire import inventory
from secondsite.wire.facts import Relation

_TEST_SECONDS = 90.0
_CYCLES = 2


class _Watch:
    """Production and replication, looked at again and again while the test runs."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self.complaints: list[str] = []
        self.looks = 0
        self.networks: set[str] = set()
        self._machines = self._production()
        # A busy machine misses cycles by itself: what counts is that the test makes nothing worse.
        self._health = {
            (vm.name, half.mode): half.health
            for vm in stage.vms
            for half in (stage.primary(vm), stage.replica(vm))
            if half
        }

    async def look(self) -> None:
        """One look; what is not as it should be is kept."""
        await self._stage.eyes.look()
        self.looks += 1
        for vm in self._stage.vms:
            self._judge(vm, self._stage.primary(vm), self._stage.replica(vm))
        if self._production() != self._machines:
            self.complaints.append("a production VM changed")
        for target in {vm.target for vm in self._stage.vms}:
            self.networks |= {net.name for net in self._stage.eyes.sites[target].all(inventory.TestNetwork).values()}

    def cycles(self, vm: VM) -> int:
        """Completed replication cycles."""
        half = self._stage.primary(vm)
        return half.cycles if half else 0

    def _judge(self, vm: VM, *halves: Relation | None) -> None:
        for half in halves:
            if half is None:
                self.complaints.append(f"{vm.name}: a half is gone")
            elif half.state != "Replicating" or half.health not in ("Normal", self._health.get((vm.name, half.mode))):
                self.complaints.append(f"{vm.name}: {half.mode} is {half.state}, {half.health}")

    def _production(self) -> dict[str, inventory.VM]:
        return {vm.id: self._stage.eyes.sites[vm.source].all(inventory.VM)[vm.id] for vm in self._stage.vms}


async def rehearse(stage: Stage) -> None:
    """Test two VMs on an isolated network while everything goes on, then clean up."""
    manifest = assets.load(assets.REHEARSAL)[0]
    name, tested = manifest["metadata"]["name"], [ref["name"] for ref in manifest["spec"]["protectedVMRefs"]]
    # The story itself says when to clean up, so that replication is seen to go on beside running test VMs.
    manifest["spec"]["cleanup"] = {"mode": "Manual"}
    manifest["metadata"]["namespace"] = stage.world.namespace
    await stage.eyes.look()
    watch, begun = _Watch(stage), await stage.eyes.begun()
    writes = await _guest_writes(stage)
    stage.world.cluster.kubectl("create", "-f", "-", stdin=assets.dump([manifest]))
    stage.show.say(f"TestFailover {name} created: {', '.join(tested)}")
    body = await _checks_done(stage, name, watch)
    _judge_checks(stage, body)
    await _goes_on(stage, watch, tested)
    await _clean_up(stage, name, watch)
    await _judge_production(stage, watch, begun, writes)


async def _checks_done(stage: Stage, name: str, watch: _Watch) -> Body:
    body: Body = {}
    shown = ""

    async def done() -> bool:
        nonlocal body, shown
        await watch.look()
        body = (await stage.eyes.objects(TEST_FAILOVER))[name]
        state = f"{body['status'].get('state')}: {condition(body, 'Ready')['message']}"
        if state != shown:
            shown = state
            stage.show.say(f"{name}: {state}")
        ended = condition(body, "ChecksPassed")["status"] in ("True", "False") and _final(body)
        return bool(ended or condition(body, "Complete")["status"] == "True")

    await stage.until(done, f"the checks of TestFailover {name} end", _TEST_SECONDS)
    return body


def _final(body: Body) -> bool:
    return all(check["verdict"] != "Pending" for vm in body["status"].get("vms", []) for check in vm.get("checks", []))


def _judge_checks(stage: Stage, body: Body) -> None:
    results = [(vm["name"], check) for vm in body["status"].get("vms", []) for check in vm.get("checks", [])]
    for vm, check in results:
        stage.show.say(f"check {check['name']} of {vm}: {check['verdict']}, {check.get('message', '')}")
    wanted = len(body["spec"]["checks"])
    passed = [check["name"] for _, check in results if check["verdict"] == "Passed"]
    whole = body["status"].get("recoveryTimeSeconds")
    seconds = "under 1 s" if whole == 0 else f"{whole} s"
    stage.verdict.add(
        "Test VMs run from recovery points and answer their checks from the copies' bytes",
        f"{len(passed)} of {wanted} passed ({', '.join(passed)}), recovery time {seconds}",
        held=len(passed) == wanted and condition(body, "ChecksPassed")["status"] == "True",
    )
    stage.verdict.figures.append(("recovery time of the test failover", seconds))


async def _goes_on(stage: Stage, watch: _Watch, tested: list[str]) -> None:
    vms = [vm for vm in stage.vms if vm.name in tested]
    before = {vm.name: watch.cycles(vm) for vm in vms}

    async def cycled() -> bool:
        await watch.look()
        counts = "   ".join(f"{vm.name} {watch.cycles(vm) - before[vm.name]}" for vm in vms)
        stage.show.progress(f"delta cycles while the test VMs run: {counts}", every=3.0)
        return all(watch.cycles(vm) >= before[vm.name] + _CYCLES for vm in vms)

    await stage.until(cycled, "replication goes on while the test VMs run", _TEST_SECONDS)


async def _clean_up(stage: Stage, name: str, watch: _Watch) -> None:
    patch = json.dumps({"spec": {"cleanup": {"requested": True}}})
    ours = stage.world.cluster.kubectl.within(stage.world.namespace)
    ours("patch", "testfailover", name, "--type=merge", "-p", patch)
    stage.show.say("clean-up requested")
    body: Body = {}

    async def complete() -> bool:
        nonlocal body
        await watch.look()
        body = (await stage.eyes.objects(TEST_FAILOVER))[name]
        return bool(condition(body, "Complete")["status"] == "True")

    took = await stage.until(complete, f"TestFailover {name} completes", _TEST_SECONDS)
    await watch.look()
    left = _left_behind(stage)
    stage.show.say(f"{name}: {body['status'].get('state')}, cleaned up in {took:.1f} s")
    stage.verdict.add(
        "A test failover cleans up after itself",
        f"{condition(body, 'Complete')['reason']}; left behind: {', '.join(left) or 'nothing'}",
        held=not left and condition(body, "CleanedUp")["status"] == "True",
    )


def _left_behind(stage: Stage) -> list[str]:
    left: list[str] = []
    for eye in stage.eyes.sites.values():
        left += [f"network {net.name}" for net in eye.all(inventory.TestNetwork).values()]
        left += [f"VM {vm.name}" for vm in eye.all(inventory.VM).values() if vm.role == "Test"]
        left += [f"test VM {half.test_vm.name}" for half in eye.all(Relation).values() if half.test_vm]
    return left


async def _judge_production(stage: Stage, watch: _Watch, begun: dict[str, int], writes: dict[str, int]) -> None:
    after, now = await stage.eyes.begun(), await _guest_writes(stage)
    sources = {vm.source for vm in stage.vms}
    commanded = sum(after[site] - begun[site] for site in sources)
    stalled = [vm.name for vm in stage.vms if now[vm.name] <= writes[vm.name]]
    seen = "all Replicating, none worse, guests writing"
    told = [*dict.fromkeys(watch.complaints), *(f"{name} writes no more" for name in stalled)]
    stage.verdict.add(
        "The test touches neither production nor replication",
        f"{commanded} commands to the source, {watch.looks} looks at both halves: "
        f"{'; '.join(told)[:300] or seen}; network {', '.join(watch.networks)}",
        held=commanded == 0 and not told and len(watch.networks) == 1,
    )


async def _guest_writes(stage: Stage) -> dict[str, int]:
    counts = {}
    for vm in stage.vms:
        answer: dict[str, Any] = await stage.eyes.ask(vm.source, {"ask": "truth", "vmID": vm.id})
        counts[vm.name] = int(answer["newest"]["sequence"]) if answer["newest"] else 0
    return counts
