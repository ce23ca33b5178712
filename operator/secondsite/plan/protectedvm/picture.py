"""One ProtectedVM put together: which machine it is, both halves of its relation, and what is wanted of them."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property
from typing import Literal

from secondsite.api.protectedvm import ProtectedVMSpec
from secondsite.api.replicationpolicy import CloudPair, ReplicationPolicySpec
from secondsite.plan.association import pair_for
from secondsite.plan.network.adapters import PlannedAdapter, Subject, plan_adapters
from secondsite.plan.network.overrides import OverrideProblem, match
from secondsite.plan.observed import UNKNOWN, Half, SiteView, VMWorld
from secondsite.plan.protectedvm import desired
from secondsite.plan.protectedvm.resolve import Resolved, resolve
from secondsite.wire.arguments import Owner, Settings
from secondsite.wire.facts import Ledger, Relation
from secondsite.wire.inventory import VM

Claim = Literal["Ours", "Foreign", "Nobody's"]
GRACE = timedelta(seconds=60)
"""How long a site may be silent before its VMs are called Unknown: its VMMSite says so at once."""


@dataclass(frozen=True)
class Picture:
    """Derived from a world, once per question and only when asked."""

    world: VMWorld

    @property
    def spec(self) -> ProtectedVMSpec:
        return self.world.vm.spec

    @property
    def policy(self) -> ReplicationPolicySpec | None:
        return self.world.policy.spec if self.world.policy else None

    @cached_property
    def resolved(self) -> Resolved:
        return resolve(self.world)

    @property
    def vm_id(self) -> str:
        return self.resolved.vm_id

    @property
    def machine(self) -> VM | None:
        return self.resolved.vm

    @cached_property
    def pair(self) -> CloudPair | None:
        return pair_for(self.world.policy, self.spec)

    @cached_property
    def source(self) -> Half:
        """The half of the site that the spec names."""
        return self._half(self.world.source)

    @cached_property
    def target(self) -> Half:
        """The other half; UNKNOWN where nobody can say which site that is."""
        return UNKNOWN if self.world.target is None else self._half(self.world.target)

    def _half(self, view: SiteView) -> Half:
        if self.vm_id:
            return view.half(self.vm_id)
        # A machine that its own site does not have, under no relation of ours, has no half there.
        return None if view.known and self.world.source.known else UNKNOWN

    def claim(self, relation: Relation) -> Claim:
        """Whose a half is. Another cluster may command for the same vault by now: whether it may, the fence decides."""
        if relation.owner is None:
            return "Nobody's"
        ours = relation.owner.vault == self.world.identity.vault != ""
        return "Ours" if ours else "Foreign"

    def owns(self, ledger: Ledger) -> bool:
        """Whether what a site remembers of the VM was done for this vault."""
        return ledger.owner is None or ledger.owner.vault == self.world.identity.vault

    @property
    def owner(self) -> Owner:
        return Owner(vault=self.world.identity.vault, control_plane=self.world.identity.control_plane)

    def ledger(self, view: SiteView | None) -> Ledger:
        """What a site remembers of the VM; a blank one where it remembers nothing."""
        found = view.ledgers.get(self.vm_id) if view else None
        return found or Ledger(vm_id=self.vm_id)

    @cached_property
    def released(self) -> int:
        """The highest epoch that either site has given up."""
        return max(self.ledger(self.world.source).released_epoch, self.ledger(self.world.target).released_epoch)

    @cached_property
    def commanded(self) -> int:
        """The highest epoch under which either site was ever commanded."""
        halves = (half.epoch for half in (self.source, self.target) if isinstance(half, Relation))
        ledgers = (self.ledger(view).epoch for view in (self.world.source, self.world.target))
        return max((*halves, *ledgers))

    @property
    def epoch(self) -> int:
        """The epoch of the relation, or of the one to be made: an interrupted enable goes on under its own."""
        return max(self.commanded, self.released + 1)

    @cached_property
    def settings(self) -> Settings | None:
        return desired.settings(self.policy) if self.policy else None

    @cached_property
    def adapters(self) -> tuple[PlannedAdapter, ...] | None:
        """The network plan; None while the machine or the target's networks are not known."""
        world = self.world
        if self.machine is None or world.target is None or not world.target.known:
            return None
        overrides = self.spec.network_adapters
        return plan_adapters(Subject(self.machine, world.source.name, world.target, world.mappings, overrides))

    @cached_property
    def override_problems(self) -> tuple[OverrideProblem, ...]:
        if self.machine is None:
            return ()
        _, problems = match(self.machine.adapters, self.spec.network_adapters)
        return problems

    @property
    def site_names(self) -> tuple[str, str]:
        """(source, target)."""
        return self.world.source.name, self.world.target.name if self.world.target else ""


def as_heard(world: VMWorld) -> VMWorld:
    """The world for reporting: a site that fell silent less than a minute ago counts as it was last heard."""
    target = None if world.target is None else _as_heard(world.target, world.now)
    return replace(world, source=_as_heard(world.source, world.now), target=target)


def _as_heard(view: SiteView, now: datetime) -> SiteView:
    since = view.contact.since
    told = view.site is not None
    if view.known or not told or since is None or now - since >= GRACE:
        return view
    return replace(view, synced=True, contact=replace(view.contact, answer="Reachable"))
