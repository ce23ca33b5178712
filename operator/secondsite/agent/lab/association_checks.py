"""Whether one side of a pair of clouds can be prepared as it is wished: pure functions of the data centre."""

from __future__ import annotations

from collections.abc import Collection

from secondsite.agent.lab.coverage import no_host
from secondsite.agent.lab.datacentre import Cloud, DataCentre
from secondsite.agent.lab.state import Association
from secondsite.wire.problems import Code, Refusal
from secondsite.wire.resources import AssociationWish


def data_host(centre: DataCentre, cloud: str) -> str:
    """Who takes data for a cloud: a host, or for a cluster its Replica Broker. Raises Refusal."""
    hosts = centre.responding(cloud)
    if not hosts:
        raise no_host(cloud)
    clusters = {cluster.name: cluster for host in hosts if (cluster := centre.cluster_of(host))}
    without = [cluster.name for cluster in clusters.values() if not cluster.broker]
    if without:
        raise Refusal(
            Code.UNSUPPORTED,
            f"Cluster {', '.join(without)} of cloud {cloud} has no Hyper-V Replica Broker",
            remedy="Add the Hyper-V Replica Broker role to the cluster, then refresh the inventory.",
        )
    cluster = centre.cluster_of(hosts[0])
    return cluster.broker if cluster else hosts[0]


def require_possible(
    centre: DataCentre, hurry: float, others: Collection[Association], id_: str, wish: AssociationWish
) -> None:
    """`others`: the associations of this site but this one. Raises Refusal."""
    cloud = _cloud(centre, wish.cloud)
    if wish.hurry != hurry:
        raise Refusal(
            Code.INVALID_REQUEST,
            f"The peer {wish.peer_site} hurries by {wish.hurry:g}, this lab by {hurry:g}",
            remedy="Start both lab agents with the same --hurry.",
        )
    data_host(centre, wish.cloud)
    _require_storage(centre, cloud, wish)
    targets = [item for item in others if item.role == "Target"] if wish.role == "Target" else []
    taken = next((item for item in targets if item.port != wish.port), None)
    if taken:
        raise Refusal(
            Code.TRANSPORT_CONFLICT,
            f"Association {id_} wishes port {wish.port}, but association {taken.id} has this host take data at "
            f"{taken.port}",
            remedy="Give both policies the same port.",
        )


def require_unused(before: Association | None, wish: AssociationWish, users: Collection[str]) -> None:
    """What relations hang on may not change under them. `users`: names of the VMs. Raises Refusal."""
    if before is None or not users:
        return
    one = (before.role, before.cloud, before.peer_site, before.peer_cloud)
    if one != (wish.role, wish.cloud, wish.peer_site, wish.peer_cloud):
        raise in_use(before.id, users)


def in_use(id_: str, users: Collection[str]) -> Refusal:
    """For an association that relations go by."""
    return Refusal(
        Code.IN_USE,
        f"Association {id_} is used by the replication of {', '.join(sorted(users))}",
        remedy="Disable their replication first.",
    )


def _cloud(centre: DataCentre, name: str) -> Cloud:
    found = next((cloud for cloud in centre.clouds if cloud.name == name), None)
    if found is None:
        raise Refusal(
            Code.NOT_FOUND,
            f"No cloud {name} at this site; it has {', '.join(cloud.name for cloud in centre.clouds)}",
            remedy="Correct the cloud in the policy, or create it in VMM and refresh the inventory.",
        )
    return found


def _require_storage(centre: DataCentre, cloud: Cloud, wish: AssociationWish) -> None:
    """At the target the cloud has to offer what replicas are put on; at the source VMs may stand anywhere."""
    if wish.role == "Target":
        known, wanted = set(cloud.storage_classifications), {pair.target for pair in wish.storage}
    else:
        known, wanted = {item.classification for item in centre.storage}, {pair.source for pair in wish.storage}
    if wanted - known:
        raise Refusal(
            Code.NOT_FOUND,
            f"No storage classification {', '.join(sorted(wanted - known))} for cloud {cloud.name}; "
            f"there is {', '.join(sorted(known)) or 'none'}",
            remedy="Correct the policy's storage, or offer the classification to the cloud in VMM.",
        )
