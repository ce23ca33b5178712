"""Worlds for tests of the functional core: a small pair of sites, and modifiers that compose into any situation."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from secondsite.api.kind import Object
from secondsite.api.networkmapping import NetworkMappingSpec
from secondsite.api.protectedvm import ProtectedVMSpec
from secondsite.api.recoveryvault import RecoveryVaultSpec
from secondsite.api.replicationpolicy import ReplicationPolicySpec
from secondsite.api.vmmsite import VMMSiteSpec
from secondsite.plan.association import Sides, association_id, pair_for
from secondsite.plan.observed import Contact, Identity, PolicyWorld, SiteView, VMWorld
from secondsite.wire.agent import AgentInfo
from secondsite.wire.facts import DiskSlot
from secondsite.wire.inventory import VM, Adapter, Association, Cloud, Disk, Network, Pool, Site, Storage, Subnet
from secondsite.wire.operations import digest

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
VM_ID = "6b0f2d0e-91a1-4f6e-8f0c-2f6f2f7c1a01"
TWIN_ID = "6b0f2d0e-91a1-4f6e-8f0c-2f6f2f7c1a02"
MAC = "00:15:5D:00:01:01"
SECOND_MAC = "00:15:5D:00:01:02"
IDENTITY = Identity(vault="v-1", control_plane="cluster-1")
FINALIZER = "secondsite.dev/release"

Change = Callable[[VMWorld], VMWorld]
Body = dict[str, Any]


def world(*changes: Change) -> VMWorld:
    """A VM that could be protected at once, changed."""
    made = _associated(_base())
    for change in changes:
        made = change(made)
    return made


def unassociated(*changes: Change) -> VMWorld:
    """The same before the policy has prepared anything."""
    made = _base()
    for change in changes:
        made = change(made)
    return made


def vm_spec(**spec: Any) -> ProtectedVMSpec:
    """A spec in the API's spelling, changed at its top level."""
    body: Body = {
        "vm": {"siteRef": {"name": "newyork"}, "cloud": "gold", "name": "web"},
        "policyRef": {"name": "gold"},
    }
    return ProtectedVMSpec.model_validate({**body, **spec})


def policy_spec(**spec: Any) -> ReplicationPolicySpec:
    body: Body = {
        "cloudPairs": [
            {
                "source": {"siteRef": {"name": "newyork"}, "cloud": "gold"},
                "target": {"siteRef": {"name": "chicago"}, "cloud": "silver"},
            }
        ],
        "replicationIntervalSeconds": 30,
    }
    return ReplicationPolicySpec.model_validate({**body, **spec})


def mapping_spec(**spec: Any) -> NetworkMappingSpec:
    body: Body = {
        "source": {"siteRef": {"name": "newyork"}, "network": "prod"},
        "target": {"siteRef": {"name": "chicago"}, "network": "dr"},
        "testNetwork": "dr-test",
        "addressMode": "Pool",
        "subnets": [{"source": "10.1.0.0/24", "target": "10.2.0.0/24"}],
    }
    return NetworkMappingSpec.model_validate({**body, **spec})


def obj(name: str, spec: Any, **fields: Any) -> Object[Any]:
    """An object that was created a day ago."""
    base: Object[Any] = Object(
        namespace="dr",
        name=name,
        uid=f"uid-{name}",
        generation=3,
        creation_timestamp=NOW - timedelta(days=1),
        deletion_timestamp=None,
        finalizers=(),
        spec=spec,
    )
    return replace(base, **fields)


def site_object(name: str, **spec: Any) -> Object[VMMSiteSpec]:
    body = {"vaultRef": {"name": "vault"}, "endpoint": f"https://{name}.example:8443", **spec}
    return obj(name, VMMSiteSpec.model_validate(body))


def info(site: str, hurry: float = 1.0) -> AgentInfo:
    return AgentInfo(
        id=f"agent-{site}",
        site=site,
        version="1",
        driver="lab",
        registered=True,
        key_fingerprint="sha256:0",
        time=NOW,
        hurry=hurry,
    )


def reachable(since: datetime = NOW - timedelta(hours=1)) -> Contact:
    return Contact("Reachable", since, NOW)


def silent(seconds: float) -> Contact:
    """A site that has not answered for so long."""
    since = NOW - timedelta(seconds=seconds)
    return Contact("Unreachable", since, since, "Timeout", "no answer within 5 s")


def machine(**fields: Any) -> VM:
    base = VM(
        id=VM_ID,
        name="web",
        cloud="gold",
        host="ny-host-1",
        state="Running",
        disks=(disk(0, operating_system=True), disk(1)),
        adapters=(Adapter("lan", MAC, "prod", "prod-a", ("10.1.0.7", "fe80::1")),),
    )
    return msgspec.structs.replace(base, **fields)


def disk(location: int, **fields: Any) -> Disk:
    return msgspec.structs.replace(Disk(DiskSlot("SCSI", 0, location), 1 << 30), **fields)


def source_view(**fields: Any) -> SiteView:
    base = SiteView(
        name="newyork",
        contact=reachable(),
        synced=True,
        info=info("newyork"),
        site=Site("Ready", clouds=(Cloud("gold", 1, 1),), storage=(Storage("fast", 1 << 40, 1 << 39),)),
        vms={VM_ID: machine()},
        vms_by_name={("gold", "web"): (VM_ID,)},
        networks={"prod": Network("prod", "ln", subnets=(Subnet("prod-a", "10.1.0.0/24"),))},
    )
    return replace(base, **fields)


def target_view(**fields: Any) -> SiteView:
    base = SiteView(
        name="chicago",
        contact=reachable(),
        synced=True,
        info=info("chicago"),
        site=Site("Ready", clouds=(Cloud("silver", 1, 0),), storage=(Storage("dr-fast", 1 << 40, 1 << 39),)),
        networks={
            "dr": Network("dr", "ln", subnets=(Subnet("dr-a", "10.2.0.0/24", gateway="10.2.0.1"),)),
            "dr-test": Network("dr-test", "ln"),
        },
        pools={"dr/dr-a": pool()},
    )
    return replace(base, **fields)


def pool(*reserved: tuple[str, str, str], free: int = 91) -> Pool:
    return Pool("dr", "dr-a", "10.2.0.0/24", "10.2.0.10", "10.2.0.100", "10.2.0.1", ("10.2.0.2",), free, reserved)


def _base() -> VMWorld:
    policy: Object[ReplicationPolicySpec] = obj("gold", policy_spec(), generation=5)
    vm: Object[ProtectedVMSpec] = obj("web", vm_spec(), finalizers=(FINALIZER,))
    pair = pair_for(policy, vm.spec)
    assert pair is not None
    return VMWorld(
        now=NOW,
        vm=vm,
        identity=IDENTITY,
        vault=obj("vault", RecoveryVaultSpec()),
        policy=policy,
        source_site=site_object("newyork"),
        target_site=site_object("chicago"),
        source=source_view(),
        target=target_view(),
        mappings=(obj("lan", mapping_spec()),),
        association=association_id(pair),
    )


def policy_world(**fields: Any) -> PolicyWorld:
    """A policy whose sites are ready and know nothing of it yet."""
    base = PolicyWorld(
        now=NOW,
        policy=obj("gold", policy_spec(), finalizers=("secondsite.dev/in-use",)),
        identity=IDENTITY,
        sites={"newyork": source_view(), "chicago": target_view()},
        site_objects={"newyork": site_object("newyork"), "chicago": site_object("chicago")},
    )
    return replace(base, **fields)


def _associated(made: VMWorld) -> VMWorld:
    assert made.policy is not None
    assert made.target is not None
    pair = made.policy.spec.cloud_pairs[0]
    target = replace(made.target, associations={made.association: _prepared(made.association, "Target", "")})
    sides = Sides(pair, (made.policy,), made.identity, made.source, target)
    wish = sides.source_wish
    assert wish is not None
    source_fact = _prepared(made.association, "Source", digest(wish))
    target_fact = _prepared(made.association, "Target", digest(sides.target_wish))
    return replace(
        made,
        source=replace(made.source, associations={made.association: source_fact}),
        target=replace(target, associations={made.association: target_fact}),
    )


def _prepared(id_: str, role: Any, body: str) -> Association:
    peer = ("newyork", "gold") if role == "Target" else ("chicago", "silver")
    host: Body = {"data_host": "ch-host-1", "data_address": "127.0.20.1", "data_port": 8084} if role == "Target" else {}
    return Association(id_, role, "silver" if role == "Target" else "gold", *peer, port=8084, digest=body, **host)


def at(moment: datetime) -> Change:
    return lambda w: replace(w, now=moment)


def spec(**fields: Any) -> Change:
    return lambda w: replace(w, vm=replace(w.vm, spec=vm_spec(**fields)))


def policy(**fields: Any) -> Change:
    return lambda w: replace(w, policy=obj("gold", policy_spec(**fields), generation=6))


def policy_deleting(w: VMWorld) -> VMWorld:
    assert w.policy is not None
    return replace(w, policy=replace(w.policy, deletion_timestamp=w.now))


def no_finalizer(w: VMWorld) -> VMWorld:
    return replace(w, vm=replace(w.vm, finalizers=()))


def deleting(since: datetime = NOW) -> Change:
    return lambda w: replace(w, vm=replace(w.vm, deletion_timestamp=since))


def source(**fields: Any) -> Change:
    return lambda w: replace(w, source=replace(w.source, **fields))


def target(**fields: Any) -> Change:
    def change(w: VMWorld) -> VMWorld:
        return replace(w, target=replace(w.target or target_view(), **fields))

    return change


def with_machine(**fields: Any) -> Change:
    return source(vms={VM_ID: machine(**fields)})


def source_silent(seconds: float = 120) -> Change:
    return source(contact=silent(seconds), synced=False)


def target_silent(seconds: float = 120) -> Change:
    return target(contact=silent(seconds), synced=False)


def source_half(**fields: Any) -> Change:
    """Change what is there of the source's half."""

    def change(w: VMWorld) -> VMWorld:
        half = msgspec.structs.replace(w.source.relations[VM_ID], **fields)
        return replace(w, source=replace(w.source, relations={VM_ID: half}))

    return change


def target_half(**fields: Any) -> Change:
    """Change what is there of the target's half."""

    def change(w: VMWorld) -> VMWorld:
        assert w.target is not None
        half = msgspec.structs.replace(w.target.relations[VM_ID], **fields)
        return replace(w, target=replace(w.target, relations={VM_ID: half}))

    return change
