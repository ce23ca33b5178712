"""What each verb is told. The shapes of `OperationRequest.arguments`, by verb."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from secondsite.wire.base import Message
from secondsite.wire.operations import Verb


class Slot(Message):
    """Where a disk hangs in its VM."""

    controller_type: Literal["IDE", "SCSI"]
    controller_number: int = Field(ge=0)
    controller_location: int = Field(ge=0)


class Owner(Message):
    """The vault that owns the relation and the cluster that commands for it."""

    vault: str
    control_plane: str


class Settings(Message):
    """Replication settings of one VM. Hours and seconds are the policy's; the lab may hurry, the settings do not."""

    interval_seconds: Literal[30, 300, 900]
    retention_hours: int = Field(default=24, ge=0, le=24)
    app_consistent_interval_hours: int = Field(default=0, ge=0, le=12)
    rpo_target_seconds: int = Field(ge=1)
    authentication: Literal["Certificate", "Kerberos"] = "Certificate"
    compression: bool = True
    auto_resynchronize: bool = True
    resynchronize_start: str = "18:30"
    resynchronize_end: str = "06:00"
    resynchronize_time_zone: str = "UTC"


class Endpoint(Message):
    """Where the target's host (or its broker) takes replication data."""

    host: str
    address: str
    port: int = Field(ge=1, le=65535)


class AdapterPlan(Message):
    """One adapter of the replica as planned. No network: it stays disconnected."""

    adapter: str
    """MAC address at the source, upper case with colons."""
    network: str = ""
    subnet: str = ""
    addresses: tuple[str, ...] = ()
    gateway: str = ""
    dns_servers: tuple[str, ...] = ()
    test_network: str = ""


class PrepareReplica(Message):
    """On the target: make place for a replica of this VM."""

    vm_name: str
    association: str
    peer_site: str
    owner: Owner
    storage: str = ""
    host_group: str = ""


class EnableReplication(Message):
    """On the source: Enable-VMReplication. `disks` are the ones to replicate."""

    association: str
    peer_site: str
    owner: Owner
    endpoint: Endpoint
    settings: Settings
    disks: list[Slot]


class ConfigureReplica(Message):
    """On the target: adapters as planned (kept disconnected), and what the replica's side has to know."""

    adapters: tuple[AdapterPlan, ...] = ()
    settings: Settings


class UpdateSettings(Message):
    """On either side: Set-VMReplication.

    `disks`, on the source: all disks to replicate from now on; absent: the same as before.
    """

    settings: Settings
    disks: list[Slot] | None = None


class StartInitialReplication(Message):
    """On the source: Start-VMInitialReplication; with a time, seven days ahead at the most, it begins then."""

    start_time: datetime | None = None


class Media(Message):
    """Start-VMInitialReplication -DestinationPath on the source, Import-VMInitialReplication on the target.

    `path` is a folder as the site's agent sees it.
    """

    path: str = Field(min_length=1, max_length=1024, pattern=r"^[^\x00]+$")


class Resynchronize(Message):
    """On the source: Resume-VMReplication -Resynchronize, now or at a time, seven days ahead at the most."""

    start_time: datetime | None = None


class Failover(Message):
    """On the target: Start-VMFailover. `planned`: the source was prepared, so that nothing is lost."""

    recovery_point: Literal["Latest", "LatestAppConsistent", "At", "Named"] = "Latest"
    time: datetime | None = None
    name: str = ""
    planned: bool = False


class ReverseReplication(Message):
    """On the target after a failover: Set-VMReplication -Reverse. `endpoint`: where the other side takes data."""

    association: str
    peer_site: str
    endpoint: Endpoint
    settings: Settings


class DemoteToReplica(Message):
    """On the source after an unplanned failover: Set-VMReplication -AsReplica. `peer_site` will send from then on."""

    association: str
    peer_site: str


class Removal(Message):
    """DisableReplication: keep the replica's files or not is told by RemoveReplica, never here."""


class StartTestFailover(Message):
    """On the target: Start-VMFailover -AsTest. `owner` is the identity of the test, its mark on all that it makes."""

    owner: str
    network: str = ""
    """Network of the test VM; empty: not connected."""
    recovery_point: Literal["Latest", "LatestAppConsistent", "At", "Named"] = "Latest"
    time: datetime | None = None
    name: str = ""
    adapters: tuple[AdapterPlan, ...] = ()


class CheckTestVM(Message):
    """On the target: one probe of the test VM. It is asked again until it passes or its time is over."""

    owner: str
    name: str
    type: Literal["Heartbeat", "Ping", "TCP", "HTTP"]
    port: int | None = None
    scheme: Literal["HTTP", "HTTPS"] = "HTTP"
    host: str = ""
    path: str = "/"
    expected_status: int = 200
    body_contains: str = ""
    period_seconds: int = Field(default=5, ge=1)
    timeout_seconds: int = Field(default=300, ge=1)


class StopTestFailover(Message):
    """On the target: Stop-VMFailover; refused for a test VM of another owner."""

    owner: str


class Nothing(Message):
    """A verb that needs no more than the VM."""


ARGUMENTS: dict[Verb, type[Message]] = {
    Verb.PREPARE_REPLICA: PrepareReplica,
    Verb.CONFIGURE_REPLICA: ConfigureReplica,
    Verb.ENABLE_REPLICATION: EnableReplication,
    Verb.START_INITIAL_REPLICATION: StartInitialReplication,
    Verb.STOP_INITIAL_REPLICATION: Nothing,
    Verb.EXPORT_INITIAL_REPLICATION: Media,
    Verb.IMPORT_INITIAL_REPLICATION: Media,
    Verb.UPDATE_SETTINGS: UpdateSettings,
    Verb.SYNCHRONIZE: Nothing,
    Verb.SUSPEND: Nothing,
    Verb.RESUME: Nothing,
    Verb.RESYNCHRONIZE: Resynchronize,
    Verb.STOP_RESYNCHRONIZE: Nothing,
    Verb.DISABLE_REPLICATION: Removal,
    Verb.REMOVE_REPLICA: Nothing,
    Verb.RESET_STATISTICS: Nothing,
    Verb.REFRESH_INVENTORY: Nothing,
    Verb.START_TEST_FAILOVER: StartTestFailover,
    Verb.CHECK_TEST_VM: CheckTestVM,
    Verb.STOP_TEST_FAILOVER: StopTestFailover,
    Verb.PREPARE_FAILOVER: Nothing,
    Verb.FAILOVER: Failover,
    Verb.CANCEL_FAILOVER: Nothing,
    Verb.COMMIT_FAILOVER: Nothing,
    Verb.REVERSE_REPLICATION: ReverseReplication,
    Verb.DEMOTE_TO_REPLICA: DemoteToReplica,
    Verb.START_VM: Nothing,
    Verb.STOP_VM: Nothing,
}
