"""Who refers to whom, by the names in specs; so that a change wakes what depends on it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator

from secondsite.api.base import Model
from secondsite.api.networkmapping import NetworkMappingSpec
from secondsite.api.protectedvm import ProtectedVMSpec
from secondsite.api.replicationpolicy import ReplicationPolicySpec
from secondsite.api.testfailover import TestFailoverSpec
from secondsite.api.vmmsite import VMMSiteSpec
from secondsite.controller.ports import Key

VAULT = "RecoveryVault"
SITE = "VMMSite"
POLICY = "ReplicationPolicy"
MAPPING = "NetworkMapping"
VM = "ProtectedVM"
TEST = "TestFailover"


def references(namespace: str, spec: Model) -> frozenset[Key]:
    """The objects that a spec names."""
    return frozenset(Key(kind, namespace, name) for kind, name in _named(spec))


def _named(spec: Model) -> Iterator[tuple[str, str]]:
    match spec:
        case VMMSiteSpec():
            yield VAULT, spec.vault_ref.name
        case ReplicationPolicySpec():
            for pair in spec.cloud_pairs:
                yield SITE, pair.source.site_ref.name
                yield SITE, pair.target.site_ref.name
        case NetworkMappingSpec():
            yield SITE, spec.source.site_ref.name
            yield SITE, spec.target.site_ref.name
        case ProtectedVMSpec():
            yield SITE, spec.vm.site_ref.name
            yield POLICY, spec.policy_ref.name
        case TestFailoverSpec():
            for ref in spec.protected_vm_refs or ():
                yield VM, ref.name


class Graph:
    """References in both directions. What is referred to need not exist."""

    def __init__(self) -> None:
        self._targets: dict[Key, frozenset[Key]] = {}
        self._referrers: dict[Key, set[Key]] = defaultdict(set)

    def put(self, key: Key, targets: frozenset[Key]) -> None:
        """State anew to what this object refers."""
        self.drop(key)
        self._targets[key] = targets
        for target in targets:
            self._referrers[target].add(key)

    def drop(self, key: Key) -> None:
        """It refers to nothing any more."""
        for target in self._targets.pop(key, frozenset()):
            self._referrers[target].discard(key)
            if not self._referrers[target]:
                del self._referrers[target]

    def targets(self, key: Key) -> frozenset[Key]:
        """What it refers to itself."""
        return self._targets.get(key, frozenset())

    def referrers(self, key: Key, kind: str = "") -> set[Key]:
        """What refers to it directly, of one kind or of all."""
        return {other for other in self._referrers.get(key, ()) if not kind or other.kind == kind}

    def below(self, key: Key) -> set[Key]:
        """All that refers to it, directly or through others."""
        return self._closure(key, self.referrers)

    def above(self, key: Key) -> set[Key]:
        """All that it refers to, directly or through others."""
        return self._closure(key, lambda other: set(self.targets(other)))

    @staticmethod
    def _closure(start: Key, step: Callable[[Key], set[Key]]) -> set[Key]:
        found: set[Key] = set()
        waiting = step(start)
        while waiting:
            found |= waiting
            waiting = {far for near in waiting for far in step(near)} - found
        return found - {start}
