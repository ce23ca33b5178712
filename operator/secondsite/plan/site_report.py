"""What is to be seen of a VMMSite: its conditions, its inventory in short, what its preflight says."""

from secondsite.api.condition import CommonReason
from secondsite.api.vmmsite import SiteCondition, SiteReason
from secondsite.api.vmmsite_status import (
    VMM,
    Agent,
    Cloud,
    Network,
    NetworkSubnet,
    Pool,
    Prerequisite,
    SiteRequestsServed,
    Storage,
    VMMSiteStatus,
)
from secondsite.api.vmmsite_status import Registration as RegistrationStatus
from secondsite.plan.actions import Finding, Plan, Report, Trouble
from secondsite.plan.conditions import fold
from secondsite.plan.observed import SiteView, SiteWorld, Unknown
from secondsite.plan.site import next_due, outstanding
from secondsite.wire.agent import Verdict
from secondsite.wire.inventory import Subnet

# Change all the time; alone they are no reason to write.
_VOLATILE = frozenset({"lastContactTime", "storage"})
_REFUSALS = {
    "BundleExpired": SiteReason.BUNDLE_EXPIRED,
    "BundleSpent": SiteReason.BUNDLE_SPENT,
    "BundleNotOutstanding": SiteReason.BUNDLE_SPENT,
    "BundleBoundToOther": SiteReason.BUNDLE_SPENT,
    "BundleForOther": SiteReason.BUNDLE_SPENT,
    "KeyPinMismatch": SiteReason.FINGERPRINT_MISMATCH,
}


def judge(world: SiteWorld, _plan: Plan, troubles: tuple[Trouble, ...]) -> Report:
    """The conditions, folded into Ready in the order in which a person would mend them."""
    parts = (_registered(world, troubles), _reachable(world), _prerequisites(world), _inventory(world))
    return Report(
        findings=(*parts, _ready(world, parts)),
        status=_status(world).manifest(),
        volatile=_VOLATILE,
        due=next_due(world),
    )


def _registered(world: SiteWorld, troubles: tuple[Trouble, ...]) -> Finding:
    kind = SiteCondition.REGISTERED
    if world.vault is None:
        name = world.site.spec.vault_ref.name
        return Finding(kind, "False", SiteReason.VAULT_NOT_FOUND, f"There is no RecoveryVault {name}: create it")
    if not world.identity.vault:
        return Finding(kind, "Unknown", SiteReason.VAULT_NOT_READY, "The vault has no certificate authority yet")
    if world.peer == "Agent":
        return Finding(kind, "True", SiteReason.REGISTERED, "The agent holds a certificate of this vault")
    for trouble in troubles:
        if trouble.code in _REFUSALS:
            return Finding(kind, "False", _REFUSALS[trouble.code], _sentence(trouble))
    bundle = outstanding(world)
    if bundle is None and world.registration is not None and world.peer == "Bootstrap":
        message = (
            "The agent shows a bundle that is spent or was made for another object or endpoint: set "
            "spec.requests.issueRegistration to a new value and start the agent with the new bundle"
        )
        return Finding(kind, "False", SiteReason.BUNDLE_SPENT, message)
    if bundle is None and world.registration is not None:
        return Finding(kind, "Unknown", SiteReason.REGISTERED, "It was registered before; now it cannot be asked")
    if bundle is not None and world.now >= bundle.expiry:
        message = "The registration bundle expired: set spec.requests.issueRegistration to a new value"
        return Finding(kind, "False", SiteReason.BUNDLE_EXPIRED, message)
    secret = f"{world.site.namespace}.{world.site.name}-registration"
    return Finding(
        kind,
        "False",
        SiteReason.WAITING_FOR_AGENT,
        f"Take bundle.json from the Secret {secret} in the operator's namespace to the site and start "
        "`secondsite agent run --bundle FILE` there",
    )


def _reachable(world: SiteWorld) -> Finding:
    kind, contact = SiteCondition.REACHABLE, world.view.contact
    if contact.answer == "Unknown":
        return Finding(kind, "Unknown", SiteReason.NOT_CONTACTED, "The operator has not reached the agent yet")
    if contact.answer == "Reachable":
        return Finding(kind, "True", SiteReason.REACHABLE, f"The agent answers at {world.site.spec.endpoint}")
    if contact.reason == "CertificateExpired":
        return Finding(kind, "False", SiteReason.CERTIFICATE_EXPIRED, contact.message)
    stranger = contact.reason.startswith(("Certificate", "Peer"))
    reason = SiteReason.IDENTITY_REFUSED if stranger else SiteReason.UNREACHABLE
    return Finding(kind, "False", reason, contact.message)


def _prerequisites(world: SiteWorld) -> Finding:
    kind = SiteCondition.PREREQUISITES_MET
    if isinstance(world.checks, Unknown):
        return Finding(kind, "Unknown", SiteReason.PREREQUISITES_UNKNOWN, "The agent's checks were not read yet")
    failed = [check for check in world.checks if check.verdict is Verdict.FAILED]
    if failed:
        first = failed[0]
        more = f" ({len(failed) - 1} more failed)" if len(failed) > 1 else ""
        return Finding(
            kind, "False", SiteReason.PREREQUISITE_FAILED, f"{first.check}: {first.message} {first.remedy}{more}"
        )
    if any(check.verdict is Verdict.UNKNOWN for check in world.checks):
        return Finding(kind, "Unknown", SiteReason.PREREQUISITES_UNKNOWN, "Some checks could not be made")
    return Finding(kind, "True", SiteReason.PREREQUISITES_MET, f"{len(world.checks)} checks passed")


def _inventory(world: SiteWorld) -> Finding:
    kind, view = SiteCondition.INVENTORY_SYNCED, world.view
    if view.site is not None and view.site.state == "Settling":
        message = "The Hyper-V management service restarts; what is there cannot be read yet"
        return Finding(kind, "Unknown", SiteReason.SETTLING, message)
    if not view.known or view.site is None:
        return Finding(kind, "Unknown", SiteReason.INVENTORY_SYNCING, "The site has not told everything yet")
    missing = sorted(set(world.site.spec.clouds) - {cloud.name for cloud in view.site.clouds})
    if missing:
        message = f"The site has no cloud {', '.join(missing)}: correct spec.clouds"
        return Finding(kind, "False", SiteReason.CLOUD_NOT_FOUND, message)
    return Finding(kind, "True", SiteReason.INVENTORY_SYNCED, "Everything that the site has is known")


def _ready(world: SiteWorld, parts: tuple[Finding, ...]) -> Finding:
    kind, spec = SiteCondition.READY, world.site.spec
    if world.site.deleting:
        users = ", ".join(world.users[:10])
        waits = f"Deletion waits for {users}" if users else "Deletion goes on"
        return Finding(kind, "False", SiteReason.IN_USE if users else CommonReason.DELETING, waits)
    if spec.requests.sweep_test_vms is not None:
        message = "requests.sweepTestVMs is not built yet: no test VM is removed by it"
        return Finding(kind, "False", CommonReason.NOT_IMPLEMENTED, message)
    folded = fold(parts, "The site takes part in replication")
    if folded.status == "True" and spec.suspended:
        return Finding(kind, "False", SiteReason.SUSPENDED, "spec.suspended is true: no command is sent to this site")
    return folded


def _status(world: SiteWorld) -> VMMSiteStatus:
    view, info = world.view, world.view.info
    site = view.site
    return VMMSiteStatus(
        agent=Agent(
            id=info.id,
            version=info.version,
            driver=info.driver,
            capabilities=tuple(capability.value for capability in info.capabilities),
        )
        if info is not None
        else None,
        vmm=VMM(name=site.vmm_name, version=site.vmm_version) if site is not None and site.vmm_name else None,
        last_contact_time=view.contact.last_time,
        clock_skew_seconds=round(view.skew.total_seconds()) if info is not None else None,
        clouds=_clouds(view),
        networks=_networks(view),
        storage=tuple(
            Storage(classification=s.classification, capacity_bytes=s.capacity_bytes, free_bytes=s.free_bytes)
            for s in (site.storage if site is not None else ())[:64]
        ),
        unprotected_vms=_unprotected(world),
        prerequisites=_prerequisite_list(world),
        registration=_registration(world),
        requests=SiteRequestsServed(**_served(world)),
    )


def _clouds(view: SiteView) -> tuple[Cloud, ...]:
    clouds = view.site.clouds if view.site is not None else ()
    return tuple(
        Cloud(
            name=cloud.name,
            hosts=cloud.hosts,
            vms=cloud.vms,
            storage_classifications=cloud.storage[:16],
            logical_networks=cloud.logical_networks[:16],
        )
        for cloud in clouds[:64]
    )


def _networks(view: SiteView) -> tuple[Network, ...]:
    return tuple(
        Network(
            name=network.name,
            logical_network=network.logical_network or None,
            isolation=network.isolation or None,
            subnets=tuple(_subnet(view, network.name, subnet) for subnet in network.subnets[:8]),
        )
        for _, network in sorted(view.networks.items())[:96]
    )


def _subnet(view: SiteView, network: str, subnet: Subnet) -> NetworkSubnet:
    pool = view.pools.get(f"{network}/{subnet.name}")
    return NetworkSubnet(
        name=subnet.name,
        cidr=subnet.cidr,
        vlan=subnet.vlan,
        gateway=subnet.gateway or None,
        pool=Pool(start=pool.start, end=pool.end, free=pool.free) if pool is not None else None,
    )


def _unprotected(world: SiteWorld) -> int | None:
    if not world.view.synced:
        return None
    clouds = set(world.site.spec.clouds)
    candidates = (vm for vm in world.view.vms.values() if vm.role == "Production")
    return sum(vm.id not in world.protected and (not clouds or vm.cloud in clouds) for vm in candidates)


def _prerequisite_list(world: SiteWorld) -> tuple[Prerequisite, ...]:
    checks = () if isinstance(world.checks, Unknown) else world.checks
    failed_first = sorted(checks, key=lambda check: check.verdict is not Verdict.FAILED)
    return tuple(
        Prerequisite(
            check=check.check, verdict=check.verdict.value, message=check.message or None, remedy=check.remedy or None
        )
        for check in failed_first[:64]
    )


def _registration(world: SiteWorld) -> RegistrationStatus:
    bundle = outstanding(world)
    return RegistrationStatus(
        key_expiry_time=bundle.expiry if bundle is not None else None,
        certificate_expiry_time=world.certificate_expiry,
    )


def _served(world: SiteWorld) -> dict[str, str]:
    """By field name: the tokens that were served."""
    served = dict(world.view.site.served_requests) if world.view.site is not None else {}
    tokens = {"refresh_inventory": served.get("refreshInventory", "")}
    if world.registration is not None:
        tokens["issue_registration"] = world.registration.token
    return {name: token for name, token in tokens.items() if token}


def _sentence(trouble: Trouble) -> str:
    return f"{trouble.message} {trouble.remedy}".strip()
