"""What a verb works on at its site: the half, the files, the association; or the refusal that says why not."""

from __future__ import annotations

from secondsite.agent.lab.estate import Estate
from secondsite.agent.lab.events import Event
from secondsite.agent.lab.replica import ReplicaStore
from secondsite.agent.lab.state import Association, Half
from secondsite.wire.facts import Mode
from secondsite.wire.problems import Code, Refusal

_MISSING: dict[Mode | None, str] = {
    "Primary": "is not replicated from this site",
    "Replica": "has no replica at this site",
    None: "has no replication at this site",
}


def half_of(estate: Estate, vm_id: str, event: Event, side: Mode | None = None) -> Half:
    """The half that an event is for; on that side, where one is named. Raises Refusal, first in the table's words."""
    half = estate.halves.get(vm_id)
    if half is None or side not in (None, half.side):
        estate.halves.require(vm_id, vm_id, event)
        raise Refusal(Code.NOT_FOUND, f"VM {vm_id} {_MISSING[side]}")
    return half


def store_of(estate: Estate, half: Half) -> ReplicaStore:
    """The files of a replica. Raises Refusal where they cannot be opened."""
    store = estate.replicas.get(half.vm_id)
    if store is None:
        why = estate.replicas.unreadable.get(half.vm_id, "it has no files")
        raise Refusal(
            Code.STATE_CONFLICT,
            f"The replica of {half.vm_name} cannot be opened: {why}",
            remedy="Stop the agent, run `secondsite agent store repair` on its data folder, start it again.",
        )
    return store


def target_association(estate: Estate, id_: str, peer: str) -> Association:
    """The association that lets `peer` replicate to this site. Raises Refusal."""
    found, site = estate.documents.get(Association, id_), estate.context.site
    if found is None or found.role != "Target" or found.peer_site != peer:
        raise Refusal(
            Code.NOT_AUTHORIZED,
            f"Association {id_} does not let {peer} replicate to {site}",
            remedy=f"Put it at {site} first, with role Target and peer site {peer}.",
        )
    return found


def require_same_hurry(estate: Estate, hurry: float) -> None:
    """Raises Refusal for a peer whose intervals are others than ours."""
    if hurry != estate.clock.hurry:
        raise Refusal(Code.INVALID_REQUEST, f"This lab hurries by {estate.clock.hurry:g}, not by {hurry:g}")
