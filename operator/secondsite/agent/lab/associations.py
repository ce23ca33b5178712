"""Pairs of clouds as one site prepares them: the data port at the target, and who may send what to it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

from secondsite import logs
from secondsite.agent.lab.association_checks import data_host, in_use, require_possible, require_unused
from secondsite.agent.lab.disk_listener import DiskListener
from secondsite.agent.lab.disk_peer import DISK_SETS, DiskSet
from secondsite.agent.lab.engine import DataServer, Post, TargetStore
from secondsite.agent.lab.estate import Estate
from secondsite.agent.lab.fault_port import require_served
from secondsite.agent.lab.peer import RELATIONS, EnableReplica, ReplicaEnabled
from secondsite.agent.lab.port import site_of
from secondsite.agent.lab.posts import answering, refused
from secondsite.agent.lab.report import Reporter
from secondsite.agent.lab.resync_peer import RESYNCHRONIZATIONS, Listener, Resynchronization
from secondsite.agent.lab.reversal_peer import REVERSALS, Reversal, Reversed
from secondsite.agent.lab.state import Association, Half
from secondsite.errors import SecondsiteError
from secondsite.wire import inventory as facts
from secondsite.wire.arguments import Endpoint
from secondsite.wire.operations import digest
from secondsite.wire.problems import Code, Refusal
from secondsite.wire.resources import AssociationWish

_log = logs.get(__name__)

Enable = Callable[[str, str, EnableReplica], ReplicaEnabled]
Reverse = Callable[[str, str, Reversal], Reversed]


class Associations:
    """All associations of a site. One data port serves them, at the agent's own address and the policy's port."""

    def __init__(self, estate: Estate, reporter: Reporter, enable: Enable, reverse: Reverse) -> None:
        self._estate = estate
        self._reporter = reporter
        self._posts: dict[str, Post] = {
            RELATIONS: answering(EnableReplica, enable),
            RESYNCHRONIZATIONS: answering(Resynchronization, Listener(estate.halves)),
            DISK_SETS: answering(DiskSet, DiskListener(estate, reporter.inventory)),
            REVERSALS: answering(Reversal, reverse),
        }
        self._lock = threading.Lock()
        self._changes = threading.Lock()
        self._port: DataServer | None = None

    @property
    def listening(self) -> bool:
        """Whether the data port is open."""
        return self._port is not None

    def all(self) -> dict[str, Association]:
        """Every association, by id."""
        return self._estate.documents.all(Association)

    def resume(self) -> None:
        """Open the data port again, where an association needs it."""
        target = next((item for item in self.all().values() if item.role == "Target"), None)
        if target:
            try:
                self._listen(target.port)
            except (Refusal, SecondsiteError) as error:
                # The association is put again with every observation that misses it, and says why by then.
                _log.error("the data port cannot be opened", port=target.port, error=str(error))

    def close(self) -> None:
        """Take no more data."""
        with self._lock:
            if self._port:
                self._port.close()
                self._port = None

    def put(self, id_: str, wish: AssociationWish) -> Endpoint | None:
        """Prepare one side; at the target the answer is where it takes data. Raises Refusal."""
        # Two policies that wish different ports at once: only one of them finds the other there.
        with self._changes:
            return self._put(id_, wish)

    def _put(self, id_: str, wish: AssociationWish) -> Endpoint | None:
        known = self.all()
        before = known.pop(id_, None)
        require_possible(self._estate.centre, self._estate.clock.hurry, known.values(), id_, wish)
        require_unused(before, wish, self._users(id_))
        endpoint = wish.endpoint
        if wish.role == "Target":
            self._listen(wish.port)
            host = data_host(self._estate.centre, wish.cloud)
            endpoint = Endpoint(host=host, address=self._estate.context.address, port=wish.port)
        document = Association(
            id=id_,
            role=wish.role,
            cloud=wish.cloud,
            peer_site=wish.peer_site,
            peer_cloud=wish.peer_cloud,
            authentication=wish.authentication,
            port=wish.port,
            digest=digest(wish),
            storage=tuple((pair.source, pair.target) for pair in wish.storage),
            data_host=endpoint.host if endpoint else "",
            data_address=endpoint.address if endpoint else "",
            data_port=endpoint.port if endpoint else 0,
        )
        self._estate.documents.put(id_, document)
        self._reporter.association(document)
        self._close_unused()
        return endpoint if wish.role == "Target" else None

    def remove(self, id_: str) -> None:
        """Raises Refusal while a relation uses it."""
        with self._changes:
            if users := self._users(id_):
                raise in_use(id_, users)
            self._estate.documents.remove(Association, id_)
            self._reporter.sink.withdraw(facts.Association, id_)
            self._close_unused()

    def _users(self, id_: str) -> list[str]:
        return [half.vm_name for half in self._estate.halves.all() if half.association == id_]

    def _close_unused(self) -> None:
        if not any(item.role == "Target" for item in self.all().values()):
            self.close()

    def _listen(self, port: int) -> None:
        with self._lock:
            if self._port and self._port.port == port:
                return
            if self._port:
                self._port.close()
                self._port = None
            context = self._estate.context
            try:
                self._port = self._estate.machinery.listen(
                    context.address, port, context.tls.listener(), self._store, self._authorize, self._posts
                )
            except OSError as error:
                raise Refusal(
                    Code.TRANSPORT_CONFLICT,
                    f"Opening the data port {context.address}:{port}: {error.strerror}",
                    remedy="Free the port, or choose another one in the policy.",
                ) from error
            _log.info("data port opened", address=context.address, port=port)

    def _store(self, vm_id: str) -> TargetStore | None:
        store = self._estate.replicas.get(vm_id)
        return store.store if store else None

    def _authorize(self, certificate: Mapping[str, object] | None, vm_id: str, path: str) -> str:
        """Who may do what: a site with an association; to a relation with that site; that is not paused."""
        site = site_of(certificate)
        if not any(item.role == "Target" and item.peer_site == site for item in self.all().values()):
            raise refused(Code.NOT_AUTHORIZED, f"no association lets site {site} replicate to this one")
        require_served(self._estate.faults, site, vm_id, path, self._broker(site))
        if not path.startswith((RELATIONS, REVERSALS)):
            half = self._estate.halves.get(vm_id)
            self._require_no_takeover(half, vm_id)
            _require_relation(half, vm_id, site)
        return site

    def _require_no_takeover(self, half: Half | None, vm_id: str) -> None:
        """A former primary that sends to where its VM runs by now is told so."""
        if half is None or half.side == "Primary":
            away = self._estate.machinery.promoted_away(self._estate.folders.replica(vm_id))
            if away is not None:
                raise away.refusal()

    def _broker(self, site: str) -> str:
        return next((item.data_host for item in self.all().values() if item.peer_site == site), "")


def _require_relation(half: Half | None, vm_id: str, site: str) -> None:
    if half is None or half.side != "Replica":
        raise refused(Code.NOT_FOUND, f"VM {vm_id} is not replicated to this site (any more)")
    if half.peer_site != site:
        raise refused(Code.NOT_AUTHORIZED, f"{half.vm_name} is replicated from {half.peer_site}, not from {site}")
    if half.state == "Suspended":
        raise refused(Code.STATE_CONFLICT, f"the replica of {half.vm_name} is suspended; resume it")
