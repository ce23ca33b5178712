"""Hypothesis strategies for worlds of a ProtectedVM: whatever two sites, a cluster and time can bring together."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, get_args

from hypothesis import strategies as st

from secondsite.plan.observed import Contact, LastTest, SiteView, VMWorld
from secondsite.wire import facts
from secondsite.wire.facts import DiskSlot, Ledger, Operation, Owner, Point, Relation, Replication, TestVM
from secondsite.wire.inventory import VM, Adapter, Disk, Network, Pool, Subnet
from secondsite.wire.operations import Verb
from support import worlds as w

MOMENTS = st.integers(-7200, 7200).map(lambda seconds: w.NOW + timedelta(seconds=seconds))
OWNERS = st.sampled_from([None, Owner("v-1", "cluster-1"), Owner("v-1", "old-cluster"), Owner("other", "c")])
EPOCHS = st.integers(0, 3)
SETTINGS = st.sampled_from([None, Replication(300), Replication(30, rpo_target_seconds=90)])
POINTS = st.none() | st.builds(
    Point, st.just("p"), MOMENTS, st.sampled_from(["Freeze", "Estimated"]), st.sampled_from(get_args(facts.PointType))
)
TEST_VMS = st.none() | st.just(TestVM("t", "web - Test", "h", "dr/drill/1", "Running"))
ADDRESSES = st.lists(st.sampled_from(["10.1.0.7", "10.2.0.10", "fd00::7", "fe80::1", "rubbish", ""]), max_size=3)
NETWORKS = st.sampled_from(["", "prod", "dr", "elsewhere"])


def relations(vm_id: str) -> st.SearchStrategy[Relation]:
    """Any half, sensible or not."""
    return st.builds(
        Relation,
        vm_id=st.just(vm_id),
        vm_name=st.just("web"),
        mode=st.sampled_from(get_args(facts.Mode)),
        state=st.sampled_from(get_args(facts.State)),
        health=st.sampled_from(get_args(facts.Health)),
        peer_site=st.sampled_from(["newyork", "chicago", "boston", ""]),
        time=MOMENTS,
        owner=OWNERS,
        epoch=EPOCHS,
        settings=SETTINGS,
        disks=st.sampled_from([(), (DiskSlot("SCSI", 0, 0),), (DiskSlot("SCSI", 0, 0), DiskSlot("SCSI", 0, 1))]),
        newest_point=POINTS,
        point_count=st.integers(0, 30),
        oldest_point_time=st.none() | MOMENTS,
        pending_bytes=st.none() | st.integers(0, 1 << 40),
        initial_total_bytes=st.none() | st.integers(0, 100),
        initial_sent_bytes=st.none() | st.integers(0, 200),
        test_vm=TEST_VMS,
        seconds_outside_rpo=st.sampled_from([(), (("2026-11-21", 90),), (("rubbish", 5),)]),
        served_requests=st.sampled_from([(), (("synchronize", "t1"),), (("unheard", "x"),)]),
    )


LEDGERS = st.builds(Ledger, st.just(w.VM_ID), EPOCHS, EPOCHS, st.integers(0, 5), OWNERS)
OPERATIONS = st.builds(
    Operation,
    key=st.just("k"),
    verb=st.sampled_from([verb.value for verb in Verb]),
    intent=st.sampled_from(["i", "44136fa355b3678a.0", "44136fa355b3678a.1"]),
    attempt=st.integers(1, 3),
    state=st.sampled_from(["Succeeded", "Failed", "Interrupted", "Abandoned"]),
    start_time=MOMENTS,
    vm_id=st.just(w.VM_ID),
    end_time=MOMENTS,
    code=st.sampled_from(["", "Busy"]),
) | st.builds(
    Operation,
    key=st.just("r"),
    verb=st.sampled_from([verb.value for verb in Verb]),
    intent=st.just("i"),
    attempt=st.just(1),
    state=st.just("Running"),
    start_time=MOMENTS,
    vm_id=st.just(w.VM_ID),
)
CONTACTS = st.builds(
    Contact,
    st.sampled_from(["Reachable", "Reachable", "Reachable", "Unreachable", "Unknown"]),
    st.none() | MOMENTS,
    st.none() | MOMENTS,
)
POOLS = st.builds(
    Pool,
    network=st.just("dr"),
    subnet=st.just("dr-a"),
    cidr=st.sampled_from(["10.2.0.0/24", "rubbish"]),
    start=st.just("10.2.0.10"),
    end=st.just("10.2.0.100"),
    free=st.integers(0, 3),
    reserved=st.sampled_from(
        [(), ((w.VM_ID, w.MAC, "10.2.0.10"),), (("other", "M", "10.2.0.7"),), ((w.VM_ID, w.MAC, "rubbish"),)]
    ),
)
MACHINES = st.builds(
    VM,
    id=st.just(w.VM_ID),
    name=st.just("web"),
    cloud=st.sampled_from(["gold", "iron"]),
    host=st.just("h"),
    state=st.just("Running"),
    role=st.sampled_from(["Production", "Replica", "Test"]),
    disks=st.lists(
        st.builds(
            Disk,
            st.builds(DiskSlot, st.sampled_from(["IDE", "SCSI"]), st.integers(0, 1), st.integers(0, 2)),
            st.just(1 << 30),
            unsupported=st.sampled_from(["", "", "PassThrough"]),
        ),
        max_size=3,
    ).map(tuple),
    adapters=st.lists(
        st.builds(
            Adapter,
            st.sampled_from(["lan", "wan"]),
            st.sampled_from([w.MAC, w.SECOND_MAC]),
            NETWORKS,
            st.sampled_from(["", "prod-a"]),
            ADDRESSES.map(tuple),
        ),
        max_size=2,
    ).map(tuple),
    storage=st.sampled_from(["", "fast"]),
    unsupported=st.sampled_from([(), (), ("Shielded",)]),
)
SITE_NETWORKS = st.sampled_from(
    [{}, {"dr": Network("dr", "l", subnets=(Subnet("dr-a", "10.2.0.0/24"), Subnet("x", "rubbish")))}]
)
_BY_ID = {"siteRef": {"name": "newyork"}, "cloud": "gold", "id": w.VM_ID}
_NOBODY = {"siteRef": {"name": "newyork"}, "cloud": "gold", "name": "nobody"}
_DISK = {"controllerType": "SCSI", "controllerNumber": 0, "controllerLocation": 1}
_OVERRIDE = {"adapter": {"name": "lan"}, "targetNetwork": "dr", "addresses": ["10.2.0.50"]}
# Parsed once: parsing takes longer than all that is tested.
SPECS = st.sampled_from(
    [
        w.vm_spec(**fields)
        for fields in (
            {},
            {"vm": _BY_ID},
            {"vm": _NOBODY},
            {"replication": "Suspended"},
            {"existingReplication": "Adopt", "excludedDisks": [_DISK]},
            {"vm": _BY_ID, "networkAdapters": [_OVERRIDE]},
            {"networkAdapters": [{"adapter": {"macAddress": w.MAC}, "targetSubnet": "10.2.0.0/24"}]},
            {"networkAdapters": [{"adapter": {"name": "lan"}}, {"adapter": {"macAddress": w.MAC}}]},
            {"vm": _BY_ID, "requests": {"synchronize": "t1"}},
            {"target": {"storageClassification": "dr-fast"}},
            {"target": {"existingVM": {"name": "x"}}},
        )
    ]
)
_MAPPINGS: list[dict[str, Any]] = [
    {},
    {"addressMode": "Preserve"},
    {"addressMode": "Offset", "onUnmapped": "Block"},
    {"addressMode": "DHCP"},
    {"addressMode": "Pool", "subnets": []},
    {
        "source": {"siteRef": {"name": "chicago"}, "network": "dr"},
        "target": {"siteRef": {"name": "newyork"}, "network": "prod"},
    },
]
_POLICIES: list[dict[str, Any]] = [
    {},
    {"replicationIntervalSeconds": 300, "replicaOnDisable": "Delete"},
    {"initialReplication": {"method": "ExistingReplica"}},
    {"initialReplication": {"window": {"start": "20:00", "end": "06:00"}}, "resynchronization": {"mode": "Manual"}},
]
MAPPINGS = st.sampled_from([w.obj("lan", w.mapping_spec(**fields)) for fields in _MAPPINGS])
POLICIES = st.sampled_from([w.obj("gold", w.policy_spec(**fields)) for fields in _POLICIES])
BASE = w.world()


@st.composite
def views(draw: st.DrawFn, base: SiteView) -> SiteView:
    """A site in any state of knowledge."""
    half, ledger = draw(st.none() | relations(w.VM_ID)), draw(st.none() | LEDGERS)
    found = draw(st.none() | MACHINES)
    drawn: dict[str, Any] = {
        "contact": draw(CONTACTS),
        "synced": draw(st.sampled_from([True, True, True, False])),
        "suspended": draw(st.sampled_from([False, False, False, True])),
        "info": draw(st.sampled_from([None, base.info, w.info(base.name, hurry=10)])),
        "skew": draw(st.sampled_from([timedelta(0), timedelta(seconds=7), timedelta(seconds=-7)])),
        "site": draw(st.sampled_from([None, base.site])),
        "relations": {w.VM_ID: half} if half else {},
        "ledgers": {w.VM_ID: ledger} if ledger else {},
        "vms": {w.VM_ID: found} if found else {},
        "vms_by_name": draw(
            st.sampled_from([{}, {("gold", "web"): (w.VM_ID,)}, {("gold", "web"): (w.VM_ID, w.TWIN_ID)}])
        ),
        "operations": {w.VM_ID: tuple(draw(st.lists(OPERATIONS, max_size=2)))},
        "networks": draw(SITE_NETWORKS),
        "pools": draw(st.just({}) | POOLS.map(lambda pool: {"dr/dr-a": pool})),
        "associations": draw(st.sampled_from([{}, base.associations])),
        "holders": draw(st.sampled_from([{}, {("dr", "10.2.0.50"): ("other",)}])),
    }
    return replace(base, **drawn)


@st.composite
def any_world(draw: st.DrawFn) -> VMWorld:
    """Anything at all."""
    base = BASE
    assert base.target is not None
    deleted: datetime | None = draw(st.none() | st.integers(0, 7200).map(lambda s: w.NOW - timedelta(seconds=s)))
    vm = replace(
        base.vm,
        spec=draw(SPECS),
        deletion_timestamp=deleted,
        finalizers=draw(st.sampled_from([(), (w.FINALIZER,), (w.FINALIZER, "else")])),
    )
    policy = draw(st.none() | POLICIES)
    return replace(
        base,
        vm=vm,
        policy=policy,
        vault=draw(st.sampled_from([None, base.vault])),
        identity=draw(st.sampled_from([base.identity, base.identity, replace(base.identity, vault="")])),
        source_site=draw(st.sampled_from([None, base.source_site, w.site_object("newyork", clouds=["iron"])])),
        target_site=draw(st.sampled_from([None, base.target_site])),
        source=draw(views(base.source)),
        target=draw(st.none() | views(base.target)),
        mappings=draw(st.lists(MAPPINGS, max_size=2).map(tuple)),
        rival=draw(st.sampled_from(["", "", "", "older"])),
        known_vm_id=draw(st.sampled_from(["", w.VM_ID])),
        last_test=draw(st.none() | st.builds(LastTest, st.just("t"), MOMENTS, st.booleans())),
        status=draw(st.sampled_from([{}, {"vmID": w.VM_ID, "lastRecoveryPoint": {"x": 1}}])),
        tombstones=draw(st.sampled_from([frozenset[str](), frozenset({f"{w.VM_ID}.1.newyork"})])),
    )
