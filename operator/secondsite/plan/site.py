"""VMMSite: registered once, renewed by itself, told its settings. What it reports is in site_report."""

from datetime import datetime, timedelta

from secondsite.plan.actions import (
    Action,
    AddFinalizer,
    Command,
    Configure,
    DropRegistration,
    IssueBundle,
    Plan,
    Register,
    RemoveFinalizer,
    Renew,
)
from secondsite.plan.finalizers import IN_USE
from secondsite.plan.observed import Registration, SiteWorld
from secondsite.wire.agent import NO_FENCE, Settings
from secondsite.wire.arguments import Nothing
from secondsite.wire.operations import Request, Verb, digest

REFRESH = "refreshInventory"


def plan(world: SiteWorld) -> Plan:
    """Deletion, then registration; a registered site that answers is told what it is to know."""
    site = world.site
    if site.deleting:
        return _leave(world)
    guard = (AddFinalizer(IN_USE),) if world.users and IN_USE not in site.finalizers else ()
    if world.vault is None or not world.identity.vault:
        return Plan(actions=guard)
    return Plan(actions=(*guard, *_certify(world), *_tell(world)), due=next_due(world))


def settings_of(world: SiteWorld) -> Settings:
    """What the site is to be told, without a fence."""
    spec = world.site.spec
    limit = spec.replication_bandwidth.limit_bytes_per_second
    return Settings(fence=NO_FENCE, clouds=spec.clouds, bandwidth_limit_bytes_per_second=limit)


def outstanding(world: SiteWorld) -> Registration | None:
    """The bundle that may still be redeemed for this very object at this very endpoint."""
    record = world.registration
    if record is None or not record.serial:
        return None
    ours = (record.site_uid, record.endpoint) == (world.site.uid, world.site.spec.endpoint)
    return record if ours else None


def renewal_time(world: SiteWorld) -> datetime | None:
    """When a third of the certificate's life is left; None: nothing to renew is known."""
    if world.certificate_expiry is None or world.vault is None:
        return None
    return world.certificate_expiry - timedelta(days=world.vault.spec.agent_certificate_validity_days) / 3


def next_due(world: SiteWorld) -> datetime | None:
    """The renewal, or the end of the outstanding bundle."""
    bundle = outstanding(world)
    moments = [renewal_time(world) if world.peer == "Agent" else None, bundle.expiry if bundle else None]
    return min((moment for moment in moments if moment is not None and moment > world.now), default=None)


def _leave(world: SiteWorld) -> Plan:
    if world.users:
        return Plan()
    drop = (DropRegistration(world.site.name),) if outstanding(world) is not None else ()
    release = (RemoveFinalizer(IN_USE),) if not drop and IN_USE in world.site.finalizers else ()
    return Plan(actions=(*drop, *release))


def _certify(world: SiteWorld) -> tuple[Action, ...]:
    """The one step that registration or renewal needs next."""
    name, bundle = world.site.name, outstanding(world)
    if _wants_bundle(world):
        return (IssueBundle(name, world.site.spec.requests.issue_registration or ""),)
    if world.peer == "Bootstrap" and bundle is not None:
        return (Register(name),)
    if world.peer == "Agent" and bundle is not None and (bundle.bound_key or not bundle.token):
        # It shows an agent's certificate: whatever the bundle was for has happened.
        return (DropRegistration(name),)
    renewal = renewal_time(world)
    expired = world.view.contact.reason == "CertificateExpired"
    if expired or (world.peer == "Agent" and renewal is not None and world.now >= renewal):
        return (Renew(name),)
    return ()


def _wants_bundle(world: SiteWorld) -> bool:
    """A new object or endpoint has no bundle yet; a new token asks for one. None replaces an expired one unasked."""
    record, token = world.registration, world.site.spec.requests.issue_registration or ""
    if record is None or record.site_uid != world.site.uid:
        return world.peer != "Agent"
    if token and token != record.token:
        return True
    return bool(record.serial) and record.endpoint != world.site.spec.endpoint and world.peer != "Agent"


def _tell(world: SiteWorld) -> tuple[Action, ...]:
    if world.peer != "Agent" or not world.view.known or world.view.site is None or world.view.suspended:
        return ()
    settings = settings_of(world)
    configure = (Configure(world.site.name, settings),) if world.view.site.settings_digest != digest(settings) else ()
    return (*configure, *_refresh(world))


def _refresh(world: SiteWorld) -> tuple[Action, ...]:
    token = world.site.spec.requests.refresh_inventory
    site = world.view.site
    if token is None or site is None or (REFRESH, token) in site.served_requests:
        return ()
    intent = f"request/{REFRESH}/{token}"
    if any(op.state == "Running" for op in world.view.ran("", intent)):
        return ()
    request = Request(name=REFRESH, token=token)
    return (Command(world.site.name, Verb.REFRESH_INVENTORY, "", intent, Nothing(), request=request),)
