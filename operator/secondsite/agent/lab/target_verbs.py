"""The verbs of the replica's side, and what the peer's EnableReplication does here."""

from __future__ import annotations

from typing import cast

import msgspec

from secondsite.agent.driver import Command
from secondsite.agent.lab import counters, coverage, rpo
from secondsite.agent.lab.estate import Estate
from secondsite.agent.lab.events import Event
from secondsite.agent.lab.lookups import half_of, require_same_hurry, target_association
from secondsite.agent.lab.peer import EnableReplica, ReplicaEnabled
from secondsite.agent.lab.report import Reporter
from secondsite.agent.lab.resources import Resources
from secondsite.agent.lab.results import Handlers, Result, replication
from secondsite.agent.lab.room import require_room
from secondsite.agent.lab.state import Association, Half, Replica
from secondsite.wire import arguments
from secondsite.wire.facts import AdapterSetting
from secondsite.wire.operations import Verb
from secondsite.wire.problems import Code, Refusal


class TargetVerbs:
    """What a site does for VMs that another replicates to it."""

    def __init__(self, estate: Estate, reporter: Reporter, resources: Resources) -> None:
        self._estate = estate
        self._reporter = reporter
        self._resources = resources

    @property
    def on_primary(self) -> Handlers:
        """Nothing: a primary is no target."""
        return {}

    @property
    def elsewhere(self) -> Handlers:
        """What is asked of a replica, or where one shall be."""
        return {
            Verb.PREPARE_REPLICA: self.prepare,
            Verb.CONFIGURE_REPLICA: self.configure,
            Verb.SUSPEND: self.suspend,
            Verb.RESUME: self.resume,
            Verb.DISABLE_REPLICATION: self.disable,
            Verb.REMOVE_REPLICA: self.remove_replica,
        }

    def prepare(self, command: Command) -> Result:
        """Choose host and storage and authorize the peer for this VM. A replica that was kept is not touched yet."""
        wish = cast("arguments.PrepareReplica", command.arguments)
        self._estate.halves.require(command.vm_id, wish.vm_name, Event.PREPARE)
        if command.vm_id in self._estate.guests:
            raise Refusal(
                Code.IN_USE,
                f"VM {wish.vm_name} ({command.vm_id}) runs at this site itself",
                remedy="A replica needs another site.",
            )
        association = target_association(self._estate, wish.association, wish.peer_site)
        before = self._estate.documents.get(Replica, command.vm_id)
        blank = before or Replica(command.vm_id, "", "", "", "", "", "")
        replica = msgspec.structs.replace(
            blank,
            vm_name=wish.vm_name,
            association=wish.association,
            peer_site=wish.peer_site,
            cloud=association.cloud,
            host=self._host(association.cloud, wish.host_group, command.vm_id),
            storage=self._storage(association, wish.storage),
        )
        self._estate.documents.put(command.vm_id, replica)
        return {"host": replica.host, "storage": replica.storage}

    def peer_enabled(self, site: str, vm_id: str, message: EnableReplica) -> ReplicaEnabled:
        """The primary's side enables: make the replica VM. Raises Refusal; repeated, it begins anew."""
        prepared = self._estate.documents.get(Replica, vm_id)
        if prepared is None or (prepared.peer_site, prepared.association) != (site, message.association):
            raise Refusal(Code.NOT_AUTHORIZED, f"no place was prepared here for VM {message.vm_name} from {site}")
        require_same_hurry(self._estate, message.hurry)
        self._estate.halves.require(vm_id, message.vm_name, Event.PEER_ENABLED)
        coverage.require_runnable(self._estate.centre, prepared, message.configuration_version, message.generation)
        replicas = self._estate.documents.all(Replica)
        require_room(self._estate.centre, replicas, prepared, sum(disk.size for disk in message.disks))
        replica = msgspec.structs.replace(
            prepared,
            generation=message.generation,
            operating_system=message.operating_system,
            disks=tuple((disk.slot, disk.size) for disk in message.disks),
            adapters=message.adapters,
            machine=message.machine,
            home=False,
        )
        self._estate.replicas.set_aside(vm_id)
        self._estate.documents.put(vm_id, replica)
        half = Half(
            vm_id=vm_id,
            vm_name=message.vm_name,
            side="Replica",
            state="WaitingForInitialReplication",
            peer_site=site,
            association=message.association,
            settings=message.settings,
            disks=tuple(disk.slot for disk in message.disks),
            window=counters.Window(start=self._estate.clock.now()),
        )
        self._estate.halves.create(Event.PEER_ENABLED, half)
        self._estate.replicas.open(vm_id)
        self._reporter.relation(vm_id)
        self._reporter.replica(vm_id)
        return ReplicaEnabled(host=replica.host)

    def configure(self, command: Command) -> Result:
        """Adapters as planned; they stay disconnected until a failover."""
        wish = cast("arguments.ConfigureReplica", command.arguments)
        half_of(self._estate, command.vm_id, Event.CONFIGURE)
        self._estate.halves.require(command.vm_id, command.vm_id, Event.CONFIGURE)
        for plan in wish.adapters:
            if plan.network:
                self._resources.network(plan.network)
            if plan.test_network:
                self._resources.network(plan.test_network)
        adapters = tuple(
            AdapterSetting(
                plan.adapter, plan.network, plan.addresses, plan.test_network, plan.gateway, plan.dns_servers
            )
            for plan in wish.adapters
        )
        self._estate.halves.amend(command.vm_id, lambda half: rpo.settled(half, self._estate.clock.now()))
        self._estate.halves.step(command.vm_id, Event.CONFIGURE, adapters=adapters, settings=replication(wish.settings))
        return {}

    def suspend(self, command: Command) -> Result:
        """Suspend-VMReplication: the next cycle is refused, and the primary's side falls into Error."""
        half = half_of(self._estate, command.vm_id, Event.SUSPEND)
        if not (command.resumed and half.state == "Suspended"):
            self._estate.halves.step(command.vm_id, Event.SUSPEND)
        return {}

    def resume(self, command: Command) -> Result:
        """Resume-VMReplication: cycles are taken again; the primary's side has to be resumed by itself."""
        half = half_of(self._estate, command.vm_id, Event.RESUME)
        if not (command.resumed and half.state == "Replicating"):
            self._estate.halves.step(command.vm_id, Event.RESUME)
        return {}

    def disable(self, command: Command) -> Result:
        """Remove-VMReplication on the replica: its VM and files stay. A mere preparation is taken back."""
        if self._estate.halves.get(command.vm_id):
            self._estate.halves.step(command.vm_id, Event.DISABLE)
        else:
            replica = self._estate.documents.get(Replica, command.vm_id)
            if replica and not replica.disks:
                self._estate.documents.remove(Replica, command.vm_id)
        return {}

    def remove_replica(self, command: Command) -> Result:
        """Delete the replica VM with its files and every recovery point. Nothing there is no error."""
        self._estate.halves.require(command.vm_id, command.vm_id, Event.REMOVE_REPLICA)
        # The document last: as long as it stands, a repeated command finds what is left.
        self._estate.replicas.discard(command.vm_id)
        self._estate.documents.remove(Replica, command.vm_id)
        self._reporter.inventory()
        return {}

    def _host(self, cloud: str, group: str, vm_id: str) -> str:
        centre = self._estate.centre
        groups = {item.name: item.hosts for item in centre.host_groups}
        if group and not set(groups.get(group, ())) & set(centre.hosts_of(cloud)):
            raise Refusal(
                Code.NOT_FOUND,
                f"Cloud {cloud} has no host group {group}",
                remedy="Correct spec.target.hostGroup, or add the host group to the cloud in VMM.",
            )
        fitting = [host for host in centre.responding(cloud) if not group or host in groups[group]]
        if not fitting:
            raise coverage.no_host(cloud)
        # Spread, and the same for the same VM.
        return fitting[int(vm_id[:8], 16) % len(fitting)]

    def _storage(self, association: Association, wished: str) -> str:
        cloud = next(item for item in self._estate.centre.clouds if item.name == association.cloud)
        if wished and wished not in cloud.storage_classifications:
            raise Refusal(
                Code.NOT_FOUND,
                f"Cloud {cloud.name} has no storage classification {wished}",
                remedy="Correct the policy's storage, or offer the classification to the cloud in VMM.",
            )
        mapped = [target for _, target in association.storage]
        choices = [wished] if wished else [*mapped, *cloud.storage_classifications]
        if not choices:
            raise Refusal(
                Code.STORAGE_EXHAUSTED,
                f"Cloud {cloud.name} has no storage classification at all",
                remedy="Offer a storage classification to the cloud in VMM.",
            )
        return choices[0]
