"""Pairs of clouds: their identity, what each side is asked to prepare, and how far a pair has come."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from secondsite.api.kind import Object
from secondsite.api.protectedvm import ProtectedVMSpec
from secondsite.api.replicationpolicy import CloudPair, ReplicationPolicySpec
from secondsite.plan.observed import Identity, SiteView
from secondsite.wire.agent import NO_FENCE
from secondsite.wire.arguments import Endpoint, Owner
from secondsite.wire.inventory import Association
from secondsite.wire.operations import digest
from secondsite.wire.resources import AssociationWish, StoragePair

Policy = Object[ReplicationPolicySpec]

# What Microsoft's documentation of Hyper-V Replica gives as ports of its listener (HTTPS, HTTP).
_PORTS = {"Certificate": 8084, "Kerberos": 8083}


def association_id(pair: CloudPair) -> str:
    """One per pair of clouds, whichever policy asks for it."""
    ends = (pair.source.site_ref.name, pair.source.cloud, pair.target.site_ref.name, pair.target.cloud)
    return hashlib.sha256("\n".join(ends).encode()).hexdigest()[:20]


def pair_for(policy: Policy | None, spec: ProtectedVMSpec) -> CloudPair | None:
    """The policy's pair for the VM's cloud."""
    wanted = (spec.vm.site_ref.name, spec.vm.cloud)
    pairs = policy.spec.cloud_pairs if policy else ()
    return next((pair for pair in pairs if (pair.source.site_ref.name, pair.source.cloud) == wanted), None)


def port_of(policy: ReplicationPolicySpec) -> int:
    """The port on which the target takes replication."""
    return policy.transport.port or _PORTS[policy.transport.authentication]


def older_first(policies: Iterable[Policy]) -> list[Policy]:
    """By age: the older one is served where two want the same differently."""
    return sorted(policies, key=lambda policy: (policy.creation_timestamp, policy.uid))


def endpoint_of(association: Association | None) -> Endpoint | None:
    """Where the target's side takes data, once it has said so."""
    if association is None or not association.data_host:
        return None
    return Endpoint(host=association.data_host, address=association.data_address, port=association.data_port)


@dataclass(frozen=True)
class Sides:
    """One pair of clouds as policies want it and as its two sites have it. `policies` are those with the pair."""

    pair: CloudPair
    policies: tuple[Policy, ...]
    identity: Identity
    source: SiteView
    target: SiteView

    @cached_property
    def id(self) -> str:
        return association_id(self.pair)

    @cached_property
    def leader(self) -> Policy:
        """The policy whose transport is served."""
        return older_first(self.policies)[0]

    @cached_property
    def target_wish(self) -> AssociationWish:
        """What the target is asked to prepare."""
        return self._wish(self.source).model_copy(
            update={"role": "Target", "cloud": self.pair.target.cloud, "peer_cloud": self.pair.source.cloud}
        )

    @cached_property
    def source_wish(self) -> AssociationWish | None:
        """What the source is asked to prepare; None until the target has said where it takes data."""
        endpoint = endpoint_of(self.target.associations.get(self.id))
        return None if endpoint is None else self._wish(self.target).model_copy(update={"endpoint": endpoint})

    @property
    def target_done(self) -> bool:
        return _has(self.target, self.id, self.target_wish)

    @property
    def source_done(self) -> bool:
        return self.source_wish is not None and _has(self.source, self.id, self.source_wish)

    def _wish(self, peer: SiteView) -> AssociationWish:
        return AssociationWish(
            fence=NO_FENCE,
            role="Source",
            cloud=self.pair.source.cloud,
            peer_site=peer.name,
            peer_cloud=self.pair.target.cloud,
            owner=Owner(vault=self.identity.vault, control_plane=self.identity.control_plane),
            authentication=self.leader.spec.transport.authentication,
            port=port_of(self.leader.spec),
            storage=self._storage,
            hurry=peer.info.hurry if peer.info else 1.0,
        )

    @cached_property
    def _storage(self) -> tuple[StoragePair, ...]:
        found: dict[str, str] = {}
        for policy in older_first(self.policies):
            for pair in policy.spec.cloud_pairs:
                if association_id(pair) == self.id:
                    for each in pair.storage:
                        found.setdefault(each.source_classification, each.target_classification)
        return tuple(StoragePair(source=source, target=target) for source, target in sorted(found.items()))


def _has(view: SiteView, id_: str, wish: AssociationWish) -> bool:
    fact = view.associations.get(id_)
    return fact is not None and fact.digest == digest(wish)
