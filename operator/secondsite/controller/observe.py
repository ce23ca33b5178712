"""Gathers what a turn may know, from the catalogue and the mirrors only: no I/O, nothing copied that is large."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from secondsite.api.base import Model
from secondsite.api.kind import Object
from secondsite.api.networkmapping import NetworkMappingSpec
from secondsite.api.protectedvm import ProtectedVMSpec
from secondsite.api.recoveryvault import RecoveryVaultSpec
from secondsite.api.replicationpolicy import ReplicationPolicySpec
from secondsite.api.testfailover import TestFailoverSpec
from secondsite.api.vmmsite import VMMSiteSpec
from secondsite.controller.catalogue import Catalogue, Entry
from secondsite.controller.machines import Machines, find_id
from secondsite.controller.ports import Key, SitesPort, VaultsPort
from secondsite.controller.references import MAPPING, POLICY, SITE, TEST, VAULT, VM
from secondsite.controller.tombstones import Tombstones
from secondsite.plan.association import association_id, pair_for
from secondsite.plan.observed import (
    LastTest,
    MappingWorld,
    PolicyWorld,
    SiteView,
    SiteWorld,
    TestWorld,
    VaultWorld,
    VMSummary,
    VMWorld,
)

S = TypeVar("S", bound=Model)


@dataclass(frozen=True, slots=True)
class Observer:
    """Builds the world of one object. Every method is a reading of memory."""

    catalogue: Catalogue
    sites: SitesPort
    vaults: VaultsPort
    machines: Machines
    tombstones: Tombstones

    def vault(self, vault: Object[RecoveryVaultSpec], now: datetime) -> VaultWorld:
        namespace, name = vault.namespace, vault.name
        return VaultWorld(
            now=now,
            vault=vault,
            identity=self.vaults.identity(namespace, name),
            authorities=self.vaults.authorities(namespace, name),
            foreign_sites=self.vaults.foreign_sites(namespace, name),
            sites=tuple((entry.key.name, entry.verdict.ready) for entry in self._sorted(SITE, namespace)),
            vms=self._summaries(self.catalogue.entries(VM, namespace)),
            users=self._users(Key(VAULT, namespace, name)),
            older=self._older_vault(vault),
        )

    def site(self, site: Object[VMMSiteSpec], now: datetime) -> SiteWorld:
        namespace, key = site.namespace, Key(SITE, site.namespace, site.name)
        facts = self.sites.facts(namespace, site.name)
        protected = self.catalogue.graph.referrers(key, VM)
        return SiteWorld(
            now=now,
            site=site,
            vault=self._object(VAULT, namespace, site.spec.vault_ref.name),
            identity=self.vaults.identity(namespace, site.spec.vault_ref.name),
            view=self.sites.view(namespace, site.name),
            peer=facts.peer,
            certificate_expiry=facts.certificate_expiry,
            registration=facts.registration,
            checks=facts.checks,
            users=self._users(key),
            protected=frozenset(filter(None, map(self.machines.id_of, protected))),
        )

    def policy(self, policy: Object[ReplicationPolicySpec], now: datetime) -> PolicyWorld:
        namespace, key = policy.namespace, Key(POLICY, policy.namespace, policy.name)
        names = sorted({end.site_ref.name for pair in policy.spec.cloud_pairs for end in (pair.source, pair.target)})
        users = (self.catalogue.get(user) for user in sorted(self.catalogue.graph.referrers(key, VM)))
        vault = self._vault_of(namespace, names[0]) if names else ""
        return PolicyWorld(
            now=now,
            policy=policy,
            identity=self.vaults.identity(namespace, vault),
            sites={name: self.sites.view(namespace, name) for name in names},
            site_objects=self._site_objects(namespace, names),
            others=tuple(other for other in self._oldest(POLICY, namespace) if other.name != policy.name),
            users=self._summaries(entry for entry in users if entry),
            vault=self._object(VAULT, namespace, vault),
        )

    def mapping(self, mapping: Object[NetworkMappingSpec], now: datetime) -> MappingWorld:
        namespace, spec = mapping.namespace, mapping.spec
        pair = {spec.source.site_ref.name, spec.target.site_ref.name}
        worlds = (self.vm(vm, now) for vm in self._vms_between(namespace, pair) if self._concerns(spec, vm))
        return MappingWorld(
            now=now,
            mapping=mapping,
            source=self.sites.view(namespace, spec.source.site_ref.name),
            target=self.sites.view(namespace, spec.target.site_ref.name),
            site_objects=self._site_objects(namespace, pair),
            others=tuple(other for other in self._oldest(MAPPING, namespace) if other.name != mapping.name),
            vms=tuple(worlds),
        )

    def vm(self, vm: Object[ProtectedVMSpec], now: datetime) -> VMWorld:
        namespace, key = vm.namespace, Key(VM, vm.namespace, vm.name)
        source_name = vm.spec.vm.site_ref.name
        source = self.sites.view(namespace, source_name)
        policy: Object[ReplicationPolicySpec] | None = self._object(POLICY, namespace, vm.spec.policy_ref.name)
        pair = pair_for(policy, vm.spec)
        vault = self._vault_of(namespace, source_name)
        entry = self.catalogue.get(key)
        remembered = str(entry.memory.get("vmID", "")) if entry else ""
        vm_id = (find_id(vm.spec, source) if source.known else "") or remembered
        self.machines.note(key, vm_id)
        # Where it replicates to is a fact; a policy that is gone or names another site does not move a replica.
        target_name = _replicates_to(source, vm_id) or (pair.target.site_ref.name if pair else "")
        return VMWorld(
            now=now,
            vm=vm,
            identity=self.vaults.identity(namespace, vault),
            vault=self._object(VAULT, namespace, vault),
            policy=policy,
            source_site=self._object(SITE, namespace, source_name),
            target_site=self._object(SITE, namespace, target_name),
            source=source,
            target=self.sites.view(namespace, target_name) if target_name else None,
            mappings=self._mappings(namespace, {source_name, target_name}),
            tests=tuple(test.name for test in self._open_tests(key)),
            association=association_id(pair) if pair else "",
            known_vm_id=remembered,
            status=entry.memory if entry else {},
            rival=self._rival(vm, key),
            last_test=self._last_test(key),
            tombstones=self.tombstones.of(namespace),
        )

    def test(self, test: Object[TestFailoverSpec], now: datetime) -> TestWorld:
        namespace, names = test.namespace, [ref.name for ref in test.spec.protected_vm_refs or ()]
        members: dict[str, VMWorld | None] = {}
        others: dict[str, str] = {}
        for name in names:
            member = self.catalogue.object(Key(VM, namespace, name))
            members[name] = self.vm(member, now) if member else None
            older = [other for other in self._open_tests(Key(VM, namespace, name)) if _age(other) < _age(test)]
            if older:
                others[name] = older[0].name
        entry = self.catalogue.get(Key(TEST, namespace, test.name))
        vaults = [world.vault for world in members.values() if world and world.vault]
        vault = next(iter(vaults or self._oldest(VAULT, namespace)), None)
        return TestWorld(
            now=now,
            test=test,
            identity=self.vaults.identity(namespace, vault.name if vault else ""),
            vault=vault,
            members=members,
            others=others,
            started=_started(entry),
            status=entry.memory if entry else {},
            sites=tuple(self.sites.view(namespace, site.key.name) for site in self._sorted(SITE, namespace)),
            tombstones=self.tombstones.of(namespace),
        )

    def _object(self, kind: str, namespace: str, name: str) -> Object[Any] | None:
        return self.catalogue.object(Key(kind, namespace, name))

    def _vault_of(self, namespace: str, site: str) -> str:
        found = self._object(SITE, namespace, site)
        return found.spec.vault_ref.name if found else ""

    def _site_objects(self, namespace: str, names: Iterable[str]) -> dict[str, Object[VMMSiteSpec]]:
        found = {name: self._object(SITE, namespace, name) for name in names}
        return {name: site for name, site in found.items() if site}

    def _sorted(self, kind: str, namespace: str) -> list[Entry]:
        return sorted(self.catalogue.entries(kind, namespace), key=lambda entry: entry.key)

    def _oldest(self, kind: str, namespace: str) -> list[Object[Any]]:
        found = (entry.object for entry in self.catalogue.entries(kind, namespace))
        return sorted((one for one in found if one), key=_age)

    def _users(self, key: Key) -> tuple[str, ...]:
        return tuple(f"{user.kind}/{user.name}" for user in sorted(self.catalogue.graph.referrers(key)))

    def _summaries(self, entries: Iterable[Entry]) -> tuple[VMSummary, ...]:
        return tuple(entry.verdict.summary(entry.key.name) for entry in entries)

    def _vms_between(self, namespace: str, pair: set[str]) -> list[Object[ProtectedVMSpec]]:
        """The ProtectedVMs that replicate between these two sites, either way."""
        found: list[Object[ProtectedVMSpec]] = []
        for name in sorted(pair):
            for key in sorted(self.catalogue.graph.referrers(Key(SITE, namespace, name), VM)):
                vm = self.catalogue.object(key)
                policy = self._object(POLICY, namespace, vm.spec.policy_ref.name) if vm else None
                clouds = pair_for(policy, vm.spec) if vm else None
                if vm and clouds and clouds.target.site_ref.name in pair:
                    found.append(vm)
        return found

    def _concerns(self, mapping: NetworkMappingSpec, vm: Object[ProtectedVMSpec]) -> bool:
        """Whether an adapter of the VM is on the mapping's network of the VM's own site, or may be."""
        site = vm.spec.vm.site_ref.name
        network = mapping.source.network if site == mapping.source.site_ref.name else mapping.target.network
        view = self.sites.view(vm.namespace, site)
        machine = view.vms.get(find_id(vm.spec, view))
        return machine is None or any(adapter.network == network for adapter in machine.adapters)

    def _mappings(self, namespace: str, names: set[str]) -> tuple[Object[NetworkMappingSpec], ...]:
        keys: set[Key] = set()
        for name in names - {""}:
            keys |= self.catalogue.graph.referrers(Key(SITE, namespace, name), MAPPING)
        found = (self.catalogue.object(key) for key in keys)
        return tuple(sorted((mapping for mapping in found if mapping), key=_age))

    def _older_vault(self, vault: Object[RecoveryVaultSpec]) -> str:
        oldest = self._oldest(VAULT, vault.namespace)[0]
        return "" if oldest.uid == vault.uid else oldest.name

    def _rival(self, vm: Object[ProtectedVMSpec], key: Key) -> str:
        """An older ProtectedVM of the same VM."""
        found = (self.catalogue.object(other) for other in self.machines.same(key))
        return min(
            ((_age(other), other.name) for other in found if other and _age(other) < _age(vm)), default=("", "")
        )[1]

    def _last_test(self, vm: Key) -> LastTest | None:
        entries = (self.catalogue.get(key) for key in self.catalogue.graph.referrers(vm, TEST))
        ended = (last_test(entry, vm.name) for entry in entries if entry)
        return max((one for one in ended if one), key=lambda one: one.time, default=None)

    def _open_tests(self, vm: Key) -> list[Object[TestFailoverSpec]]:
        """The TestFailovers of a VM that are not cleaned up, oldest first."""
        entries = (self.catalogue.get(key) for key in self.catalogue.graph.referrers(vm, TEST))
        found = [entry.object for entry in entries if entry and entry.object and not _complete(entry)]
        return sorted(found, key=_age)


def _replicates_to(source: SiteView, vm_id: str) -> str:
    half = source.relations.get(vm_id)
    return half.peer_site if half is not None and half.mode == "Primary" else ""


def _age(obj: Object[S]) -> tuple[datetime, str]:
    return obj.creation_timestamp, obj.uid


def _complete(entry: Entry) -> bool:
    return entry.verdict.conditions.get("Complete") == "True"


def last_test(entry: Entry, vm: str) -> LastTest | None:
    """How a TestFailover ended for one of its VMs, by what it reports; None while its checks go on."""
    ready = entry.verdict.conditions.get("Ready")
    member = next((each for each in entry.memory.get("vms", ()) if each.get("name") == vm), None)
    if member is None or not (ready == "True" or _complete(entry)):
        return None
    checks = member.get("checks", ())
    times = [datetime.fromisoformat(check["time"]) for check in checks if check.get("time")]
    times += [datetime.fromisoformat(step["endTime"]) for step in entry.memory.get("steps", ()) if step.get("endTime")]
    if not times or not member.get("testVM"):
        return None
    passed = ready == "True" and all(check.get("verdict") == "Passed" for check in checks)
    return LastTest(name=entry.key.name, time=max(times), passed=passed)


def _started(entry: Entry | None) -> datetime | None:
    steps = entry.memory.get("steps") if entry else None
    times = [str(step["startTime"]) for step in steps or () if step.get("startTime")]
    return min(map(datetime.fromisoformat, times), default=None)
