"""What a lab site checks of itself: data-centre file, space, data port."""

from __future__ import annotations

import os

from secondsite.agent.lab.associations import Associations
from secondsite.agent.lab.datacentre import Cluster, load
from secondsite.agent.lab.estate import Estate
from secondsite.errors import SecondsiteError
from secondsite.wire.agent import Check, Verdict

_ENOUGH_BYTES = 1 << 30


class Preflight:
    """Answers `GET /v1/checks`."""

    def __init__(self, estate: Estate, associations: Associations) -> None:
        self._estate = estate
        self._associations = associations

    def all(self) -> list[Check]:
        """Every check, with a remedy for what fails."""
        return [self._file(), self._space(), self._port(), self._brokers()]

    def _file(self) -> Check:
        try:
            load(self._estate.path)
        except SecondsiteError as error:
            return Check(
                check="InventoryReadable",
                verdict=Verdict.FAILED,
                message=str(error),
                remedy="Correct the file; the last good one is served.",
            )
        return Check(check="InventoryReadable", verdict=Verdict.PASSED, message=f"Read from {self._estate.path.name}")

    def _space(self) -> Check:
        state = os.statvfs(self._estate.context.data)
        free = state.f_bavail * state.f_frsize
        return Check(
            check="StorageSpace",
            verdict=Verdict.PASSED if free >= _ENOUGH_BYTES else Verdict.FAILED,
            message=f"{free} bytes are free where the lab keeps its disks",
            remedy="" if free >= _ENOUGH_BYTES else f"Free at least {_ENOUGH_BYTES} bytes there.",
        )

    def _brokers(self) -> Check:
        """Where either side is a cluster, replication goes by its Replica Broker."""
        missing = [cluster.name for cluster in self._served() if not cluster.broker]
        if not missing:
            return Check(
                check="ReplicaBroker", verdict=Verdict.PASSED, message="Every cluster of the served clouds has a broker"
            )
        return Check(
            check="ReplicaBroker",
            verdict=Verdict.FAILED,
            message=f"No Hyper-V Replica Broker in cluster {', '.join(missing)}: nothing replicates to or from it",
            remedy="Add the Hyper-V Replica Broker role to the cluster, then refresh the inventory.",
        )

    def _served(self) -> list[Cluster]:
        centre, wanted = self._estate.centre, self._estate.settings.clouds
        clouds = [cloud.name for cloud in centre.clouds if not wanted or cloud.name in wanted]
        hosts = {host for cloud in clouds for host in centre.hosts_of(cloud)}
        return [cluster for cluster in centre.clusters if hosts & set(cluster.nodes)]

    def _port(self) -> Check:
        needed = any(item.role == "Target" for item in self._associations.all().values())
        if needed and not self._associations.listening:
            return Check(
                check="DataPort",
                verdict=Verdict.FAILED,
                message="An association needs the data port, and it is not open",
                remedy="See the agent's log for what holds the port, and free it.",
            )
        text = "The data port is open" if needed else "No association needs the data port"
        return Check(check="DataPort", verdict=Verdict.PASSED, message=text)
