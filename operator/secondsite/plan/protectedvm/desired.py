"""What a policy and a ProtectedVM ask for, in the words of the agent contract."""

from secondsite.api.protectedvm import ProtectedVMSpec
from secondsite.api.replicationpolicy import CloudPair, ReplicationPolicySpec
from secondsite.plan.network.adapters import PlannedAdapter
from secondsite.plan.window import OUTSIDE_OFFICE_HOURS, resynchronization_window
from secondsite.wire.arguments import AdapterPlan, Settings
from secondsite.wire.facts import AdapterSetting, DiskSlot, Relation, Replication
from secondsite.wire.inventory import VM


def rpo_target(policy: ReplicationPolicySpec) -> int:
    """Seconds that a replica may be behind; by default three intervals."""
    return policy.rpo.target_seconds or 3 * policy.replication_interval_seconds


def settings(policy: ReplicationPolicySpec) -> Settings:
    """The settings of every relation under this policy."""
    window = resynchronization_window(policy)
    shown = window or OUTSIDE_OFFICE_HOURS
    return Settings(
        interval_seconds=policy.replication_interval_seconds,
        retention_hours=policy.recovery_points.retention_hours,
        app_consistent_interval_hours=policy.recovery_points.app_consistent_interval_hours,
        rpo_target_seconds=rpo_target(policy),
        authentication=policy.transport.authentication,
        compression=policy.transport.compression,
        auto_resynchronize=window is not None,
        resynchronize_start=shown.start,
        resynchronize_end=shown.end,
        resynchronize_time_zone=shown.time_zone,
    )


def has_settings(relation: Relation, wanted: Settings) -> bool:
    """Whether a half has these settings."""
    return relation.settings == Replication(**wanted.model_dump())


def slot(disk: DiskSlot) -> tuple[str, int, int]:
    """A disk's place as a key."""
    return disk.controller_type, disk.controller_number, disk.controller_location


def excluded(spec: ProtectedVMSpec) -> frozenset[tuple[str, int, int]]:
    """Places of the disks that are not to be replicated."""
    disks = spec.excluded_disks
    return frozenset((disk.controller_type, disk.controller_number, disk.controller_location) for disk in disks)


def disks(spec: ProtectedVMSpec, vm: VM) -> tuple[DiskSlot, ...]:
    """The disks that are to be replicated."""
    out = excluded(spec)
    return tuple(disk.slot for disk in vm.disks if slot(disk.slot) not in out)


def storage(spec: ProtectedVMSpec, pair: CloudPair, vm: VM) -> str:
    """Storage classification of the replica; empty: the target's default."""
    mapped = {each.source_classification: each.target_classification for each in pair.storage}
    return spec.target.storage_classification or mapped.get(vm.storage, "")


def adapter_plans(planned: tuple[PlannedAdapter, ...]) -> tuple[AdapterPlan, ...]:
    """The plan as the target is told it."""
    return tuple(
        AdapterPlan(
            adapter=each.adapter.mac_address,
            network=each.network,
            subnet=each.subnet,
            addresses=each.addresses,
            gateway=each.gateway,
            dns_servers=each.dns_servers,
            test_network=each.test_network,
        )
        for each in planned
    )


def has_adapters(relation: Relation, planned: tuple[PlannedAdapter, ...]) -> bool:
    """Whether the replica's adapters stand as planned. One that stays disconnected may be left out of the facts."""
    wanted = {
        AdapterSetting(
            each.adapter.mac_address, each.network, each.addresses, each.test_network, each.gateway, each.dns_servers
        )
        for each in planned
        if each.network
    }
    return {each for each in relation.adapters if each.network} == wanted
