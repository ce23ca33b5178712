"""A lab site: its parts, in the order in which they need each other."""

from __future__ import annotations

from pathlib import Path

from secondsite.agent.driver import SiteContext
from secondsite.agent.lab import counters, resized
from secondsite.agent.lab.answers import Answers
from secondsite.agent.lab.associations import Associations
from secondsite.agent.lab.choice import offered
from secondsite.agent.lab.clock import LabClock
from secondsite.agent.lab.disk_verbs import DiskVerbs
from secondsite.agent.lab.estate import Estate
from secondsite.agent.lab.failover_source import FailoverSource
from secondsite.agent.lab.failover_target import FailoverTarget
from secondsite.agent.lab.fault_desk import FaultDesk
from secondsite.agent.lab.fault_port import no_room
from secondsite.agent.lab.listing import listed_vms
from secondsite.agent.lab.machinery import Machinery
from secondsite.agent.lab.media_verbs import MediaVerbs
from secondsite.agent.lab.power import Power
from secondsite.agent.lab.preflight import Preflight
from secondsite.agent.lab.relation import point_fact
from secondsite.agent.lab.report import Reporter
from secondsite.agent.lab.resources import Resources
from secondsite.agent.lab.resync_verbs import ResyncVerbs
from secondsite.agent.lab.roles import Roles
from secondsite.agent.lab.source_verbs import SourceVerbs
from secondsite.agent.lab.state import Replica, SiteSettings
from secondsite.agent.lab.target_verbs import TargetVerbs
from secondsite.agent.lab.testfailover import TestFailovers
from secondsite.agent.lab.verbs import Verbs
from secondsite.wire.agent import Check, Settings
from secondsite.wire.facts import Counters, Point
from secondsite.wire.feed import VMDetail
from secondsite.wire.inventory import VM
from secondsite.wire.problems import Code, Refusal


class Site:
    """What the driver starts, stops and asks; all of it blocking. `machinery`: another engine than the real one."""

    def __init__(
        self,
        context: SiteContext,
        path: Path,
        clock: LabClock,
        *,
        keep_every_cycle: bool = False,
        machinery: Machinery | None = None,
    ) -> None:
        context.data.mkdir(parents=True, exist_ok=True)
        self.context = context
        machinery = machinery or Machinery()
        self.reporter = Reporter(context.sink, machinery.thread)
        changed = self.reporter.changed
        self.estate = Estate(context, path, clock, changed, keep_every_cycle=keep_every_cycle, machinery=machinery)
        self.resources = Resources(self.estate, self.reporter)
        self.target = TargetVerbs(self.estate, self.reporter, self.resources)
        roles = Roles(self.estate, self.reporter)
        self.associations = Associations(self.estate, self.reporter, self.target.peer_enabled, roles.reversed_by)
        self.tests = TestFailovers(self.estate, self.resources)
        self.source = SourceVerbs(self.estate)
        later = (MediaVerbs(self.estate, self.source), ResyncVerbs(self.estate), DiskVerbs(self.estate))
        failover = (
            FailoverSource(self.estate, roles, self.source.disable),
            FailoverTarget(self.estate, roles, self.target.disable),
        )
        families = (self.source, self.target, self.tests, *later, *failover, Power(self.estate, self.reporter))
        self.verbs = Verbs(self.estate, self.reporter, families)
        self.preflight = Preflight(self.estate, self.associations)
        self.faults = FaultDesk(self.estate, self.reporter)
        self.socket = self.estate.machinery.socket(context.data, Answers(self.estate, self.faults.answers))

    def start(self) -> None:
        self.estate.open()
        resized.notice(self.estate)
        self.reporter.start(self.estate)
        self.faults.start()
        self.associations.resume()
        self.socket.start()

    def stop(self) -> None:
        self.socket.stop()
        self.faults.stop()
        self.associations.close()
        self.reporter.stop()
        self.estate.close()

    def apply(self, settings: Settings) -> None:
        unknown = set(settings.clouds) - {cloud.name for cloud in self.estate.centre.clouds}
        if unknown:
            raise Refusal(Code.NOT_FOUND, f"No cloud {', '.join(sorted(unknown))} at this site")
        self.estate.configure(SiteSettings(settings.clouds, settings.bandwidth_limit_bytes_per_second))
        self.reporter.inventory()

    def points(self, vm_id: str) -> list[Point]:
        store = self.estate.replicas.get(vm_id)
        half = self.estate.halves.get(vm_id)
        name = half.vm_name if half else vm_id
        return [point_fact(name, point) for point in offered(half, store.points())] if store else []

    def detail(self, vm_id: str) -> VMDetail:
        relation, vm = self.reporter.compute(vm_id), self._vm(vm_id)
        if relation is None and vm is None:
            raise Refusal(Code.NOT_FOUND, f"No VM {vm_id} at this site")
        store = self.estate.replicas.get(vm_id)
        free = 0 if no_room(self.estate.faults, vm_id) else store.free_bytes if store else None
        counted = self._counters(vm_id)
        return VMDetail(
            vm=vm, relation=relation, points=tuple(self.points(vm_id)), replica_free_bytes=free, counters=counted
        )

    def _counters(self, vm_id: str) -> Counters | None:
        half, clock = self.estate.halves.get(vm_id), self.estate.clock
        if half is None:
            return None
        interval = clock.scaled(half.settings.interval_seconds)
        return counters.fact(half.window, interval, clock.now(), clock.monitoring_seconds)

    def _vm(self, vm_id: str) -> VM | None:
        replica = self.estate.documents.get(Replica, vm_id)
        listed = listed_vms(self.estate, [replica] if replica else [])
        return next((vm for vm in listed if vm.id == vm_id), None)

    def checks(self) -> list[Check]:
        """What the site needs to be able to work."""
        return self.preflight.all()
