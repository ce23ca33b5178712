"""What would protect the company: a vault, its two sites, three policies, network mappings, one object for each VM."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from secondsite.agent.lab.company.plan import BRANCH_NET, BRANCHES, NETS, REHEARSAL, SITES, Body, SitePlan, branch_cidr
from secondsite.agent.lab.company.text import flow

NAMESPACE = "company"
POLICIES = {"Databases": "tier1", "Production": "tier2", "Branches": "tier3"}
"""The clouds that are protected, and by which policy; desktops and development are made anew."""
_INTERVALS = {"tier1": 30, "tier2": 300, "tier3": 900}
_ENDPOINTS = {"hamburg": "https://127.0.40.1:8443", "antwerp": "https://127.0.60.1:8443"}


def manifests(centres: Mapping[str, Body]) -> dict[str, str]:
    """Files by name. `centres` are the data centres by site."""
    plans = {site.name: site for site in SITES}
    return {
        "10-vault.yaml": _file([_object("RecoveryVault", "vault", {})], namespace=True),
        "20-sites.yaml": _file([_site(site) for site in SITES]),
        "30-policies.yaml": _file([_policy(name) for name in _INTERVALS]),
        "40-networks.yaml": _file([each for site in SITES for each in _mappings(site, plans[site.peer])]),
        **{f"50-{name}-vms.yaml": _file(_protected(name, centre)) for name, centre in centres.items()},
    }


def _object(kind: str, name: str, spec: Body) -> Body:
    return {"kind": kind, "metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec}


def _file(objects: list[Body], *, namespace: bool = False) -> str:
    first = f"apiVersion: v1\nkind: Namespace\nmetadata: {{name: {NAMESPACE}}}\n---\n" if namespace else ""
    return first + "---\n".join(_text(item) for item in objects)


def _text(item: Body) -> str:
    head = f"apiVersion: secondsite.dev/v1alpha1\nkind: {item['kind']}\nmetadata: {flow(item['metadata'])}\n"
    if not item["spec"]:
        return f"{head}spec: {{}}\n"
    return f"{head}spec:\n" + "".join(f"  {key}: {flow(value)}\n" for key, value in item["spec"].items())


def _site(site: SitePlan) -> Body:
    return _object("VMMSite", site.name, {"vaultRef": {"name": "vault"}, "endpoint": _ENDPOINTS[site.name]})


def _end(site: str, **more: Any) -> Body:
    return {"siteRef": {"name": site}, **more}


def _policy(name: str) -> Body:
    clouds = [cloud for cloud, policy in POLICIES.items() if policy == name]
    pairs = [
        {
            "source": _end(site.name, cloud=cloud),
            "target": _end(site.peer, cloud="Recovery"),
            "storage": [{"sourceClassification": each, "targetClassification": each} for each in _CLASSES[cloud]],
        }
        for site in SITES
        for cloud in clouds
    ]
    retention = {"retentionHours": 4 if name == "tier3" else 24}
    return _object(
        "ReplicationPolicy",
        name,
        {"cloudPairs": pairs, "replicationIntervalSeconds": _INTERVALS[name], "recoveryPoints": retention},
    )


_CLASSES = {"Databases": ("Gold",), "Production": ("Gold", "Silver", "Bronze"), "Branches": ("Bronze",)}


def _mappings(site: SitePlan, peer: SitePlan) -> list[Body]:
    made = [_mapping(site, peer, net.name, f"{net.name}-DR", mode, pairs) for net, mode, pairs in _pairs(site, peer)]
    stretched = next(net for net in NETS if net.stretched)
    made.append(_mapping(site, peer, stretched.name, stretched.name, "Preserve", []))
    branches = [
        {"source": str(branch_cidr(site, number)), "target": str(branch_cidr(peer, number, recovery=True))}
        for number in range(BRANCHES)
    ]
    made.append(_mapping(site, peer, BRANCH_NET, f"{BRANCH_NET}-DR", "Pool", branches))
    return made


def _pairs(site: SitePlan, peer: SitePlan) -> list[tuple[Any, str, list[Body]]]:
    found = []
    for net in NETS:
        if net.stretched or net.name in ("Desktops", "Tenants"):
            continue
        pairs = [{"source": str(net.four(site)), "target": str(net.four(peer, recovery=True))}]
        if net.six:
            pairs.append({"source": str(net.six_at(site)), "target": str(net.six_at(peer, recovery=True))})
        found.append((net, "Pool" if net.name == "Database" else "Offset", pairs))
    return found


def _mapping(site: SitePlan, peer: SitePlan, source: str, target: str, mode: str, pairs: list[Body]) -> Body:
    spec: Body = {
        "source": _end(site.name, network=source),
        "target": _end(peer.name, network=target),
        "testNetwork": REHEARSAL,
        "addressMode": mode,
    }
    return _object("NetworkMapping", f"{site.name}-{source.lower()}", spec | ({"subnets": pairs} if pairs else {}))


def _protected(site: str, centre: Body) -> list[Body]:
    names = [vm["name"] for vm in centre["vms"]]
    found = []
    for vm in centre["vms"]:
        policy = POLICIES.get(vm["cloud"])
        if policy:
            alone = names.count(vm["name"]) == 1
            by = {"name": vm["name"]} if alone else {"id": vm["id"]}
            name = vm["name"] if alone else f"{vm['name']}-{vm['id'][:8]}"
            spec = {"vm": _end(site, cloud=vm["cloud"], **by), "policyRef": {"name": policy}}
            found.append(_object("ProtectedVM", name, spec))
    return found
