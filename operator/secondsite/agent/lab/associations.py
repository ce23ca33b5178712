"""Pairs of clouds as one site prepares them: the data port at the target, and who may send what to it."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from secondsite import logs
from secondsite.agent.lab.engine import DataServer, PeerRefused, Post, TargetStore
from secondsite.agent.lab.estate import Estate
from secondsite.agent.lab.fault_port import require_served
from secondsite.agent.lab.peer import RELATIONS
from secondsite.agent.lab.port import Enable, answer_enable, site_of
from secondsite.agent.lab.report import Reporter
from secondsite.agent.lab.resync_peer import RESYNCHRONIZATIONS, Listener
from secondsite.agent.lab.state import Association, Half
from secondsite.errors import SecondsiteError
from secondsite.wire import inventory as facts
from secondsite.wire.arguments import Endpoint
from secondsite.wire.operations import digest
from secondsite.wire.problems import Code, Refusal
from secondsite.wire.resources import AssociationWish

_log = logs.get(__name__)


class Associations:
    """All associations of a site. One data port serves them, at the agent's own address and the policy's port."""

    def __init__(self, estate: Estate, reporter: Reporter, enable: Enable) -> None:
        self._estate = estate
        self._reporter = reporter
        self._posts: dict[str, Post] = {
            RELATIONS: answer_enable(enable),
            RESYNCHRONIZATIONS: Listener(estate.halves),
        }
        self._lock = threading.Lock()
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
        self._check(id_, wish)
        endpoint = wish.endpoint
        if wish.role == "Target":
            self._listen(wish.port)
            host = self._estate.centre.hosts_of(wish.cloud)[0]
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
        return endpoint if wish.role == "Target" else None

    def remove(self, id_: str) -> None:
        """Raises Refusal while a relation uses it."""
        users = [half.vm_name for half in self._estate.halves.all() if half.association == id_]
        if users:
            raise Refusal(
                Code.IN_USE,
                f"Association {id_} is used by the replication of {', '.join(sorted(users))}",
                remedy="Disable their replication first.",
            )
        self._estate.documents.remove(Association, id_)
        self._reporter.sink.withdraw(facts.Association, id_)
        if not any(item.role == "Target" for item in self.all().values()):
            self.close()

    def _check(self, id_: str, wish: AssociationWish) -> None:
        centre = self._estate.centre
        if not centre.hosts_of(wish.cloud):
            clouds = ", ".join(cloud.name for cloud in centre.clouds)
            raise Refusal(Code.NOT_FOUND, f"No cloud {wish.cloud} at this site; it has {clouds}")
        if wish.hurry != self._estate.clock.hurry:
            raise Refusal(
                Code.INVALID_REQUEST,
                f"The peer {wish.peer_site} hurries by {wish.hurry:g}, this lab by {self._estate.clock.hurry:g}",
                remedy="Start both lab agents with the same --hurry.",
            )
        classes = {item.classification for item in centre.storage}
        mine = [pair.target if wish.role == "Target" else pair.source for pair in wish.storage]
        missing = sorted({name for name in mine if name not in classes})
        if missing:
            raise Refusal(Code.NOT_FOUND, f"No storage classification {', '.join(missing)} at this site")
        others = [item for key, item in self.all().items() if key != id_ and item.role == "Target" == wish.role]
        taken = next((item for item in others if item.port != wish.port), None)
        if taken:
            raise Refusal(
                Code.TRANSPORT_CONFLICT,
                f"Port {wish.port} is wished, but association {taken.id} has this host take data at {taken.port}",
                remedy="Give both policies the same port.",
            )

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
            raise PeerRefused(403, "NotAuthorized", f"no association lets site {site} replicate to this one")
        require_served(self._estate.faults, site, vm_id, path, self._broker(site))
        if not path.startswith(RELATIONS):
            _require_relation(self._estate.halves.get(vm_id), vm_id, site)
        return site

    def _broker(self, site: str) -> str:
        return next((item.data_host for item in self.all().values() if item.peer_site == site), "")


def _require_relation(half: Half | None, vm_id: str, site: str) -> None:
    if half is None or half.side != "Replica":
        raise PeerRefused(404, "NotFound", f"VM {vm_id} is not replicated to this site (any more)")
    if half.peer_site != site:
        raise PeerRefused(403, "NotAuthorized", f"{half.vm_name} is replicated from {half.peer_site}, not from {site}")
    if half.state == "Suspended":
        raise PeerRefused(409, "StateConflict", f"the replica of {half.vm_name} is suspended; resume it")
