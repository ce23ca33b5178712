"""`status.errors`: every obstacle, refusal and failure that a person may have to deal with, the gravest first."""

from collections.abc import Iterator

from secondsite.plan.observed import SiteView
from secondsite.plan.protectedvm.orders import ended, last_ended
from secondsite.plan.protectedvm.problems import Problem
from secondsite.plan.protectedvm.protected import obstacles
from secondsite.plan.protectedvm.view import View
from secondsite.wire.facts import Relation
from secondsite.wire.health import Reason

_KEPT = 16
_ACTIONS = {
    "Error": "Mend the cause at the site; replication is resumed by itself every few minutes.",
    "WaitingForStartResynchronize": (
        "With resynchronization of mode Automatic it begins by itself inside the policy's window. To begin now, run "
        "Resume-VMReplication -Resynchronize at the source's host."
    ),
    "Resynchronizing": "Wait for its end. The recovery points at the replica are those of before.",
    "ResynchronizeSuspended": "Run Resume-VMReplication at the source's host: the comparison goes on where it stopped.",
    "UpdateError": (
        "Correct what the message names, then run Set-VMReplication with the disks to replicate at the source's host."
    ),
    "Suspended": "Set spec.replication to Enabled to go on.",
}
_ADVICE = {
    Reason.CANNOT_DELIVER: (
        "Check the link between the sites, and host and agent at the replica's site; it is tried again by itself."
    ),
}
# Reasons of a replica's health that have an error of their own: code, what to do.
_STORED: dict[str, tuple[str, str]] = {
    Reason.REPLICA_UNREADABLE: (
        "ReplicaUnreadable",
        (
            "Stop the agent of the site, run `secondsite agent store repair` on its data folder, and start it again. "
            "Where that cannot mend it, disable and enable the protection."
        ),
    ),
    Reason.NEWEST_POINT_DAMAGED: (
        "NewestPointDamaged",
        (
            "Check the storage at the site. What the source still holds comes back with the next cycle; until then a "
            "TestFailover of type Latest waits: name an older point. Where it stays, disable and enable the protection."
        ),
    ),
    Reason.POINTS_DAMAGED: (
        "PointsDamaged",
        (
            "Check the storage at the site. What the source still holds comes back with the next cycle; the rest stays "
            "until retention gives those points up. Newer points are whole."
        ),
    ),
    Reason.OUT_OF_SPACE: (
        "OutOfSpace",
        (
            "Free space on the replica's storage, or lower retentionHours in the policy. Every point is kept, and the "
            "cycle is tried again by itself."
        ),
    ),
}
_SHOWN_KINDS = frozenset({"Refused", "SiteRefused", "Bug", "SiteUnreachable"})


def errors(view: View) -> tuple[Problem, ...]:
    """What stands in the way, each once."""
    halves = (*_critical(view), *_stored(view), *_unquiesced(view))
    found = (*_troubles(view), *obstacles(view), *_failures(view), *halves)
    unique = {(each.code, each.site, each.message): each for each in found}
    return tuple(unique.values())[:_KEPT]


def _troubles(view: View) -> Iterator[Problem]:
    for each in view.troubles:
        if each.kind in _SHOWN_KINDS:
            yield Problem(each.code, each.message, each.remedy, each.site, since=each.since)


def _failures(view: View) -> Iterator[Problem]:
    """Operations that failed and after which none succeeded: also those of before the operator's start."""
    for site in (view.world.source, view.world.target):
        if site is None or not site.known:
            continue
        last = last_ended(site, view.picture.vm_id)
        if last is not None and last.state == "Failed" and not _said(view, site, last.code):
            message = f"{last.verb} failed at site {site.name}: {last.message or last.code}"
            yield Problem(last.code or "Failed", message, last.remedy, site.name, since=ended(last, site))


def _said(view: View, site: SiteView, code: str) -> bool:
    return any(each.site == site.name and each.code == code for each in view.troubles)


def _critical(view: View) -> Iterator[Problem]:
    for half, site in zip((view.source, view.target), view.picture.site_names, strict=True):
        if half is not None and half.health == "Critical" and not _told_apart(half):
            yield Problem("ReplicationCritical", half.message or half.state, _action(half), site, half.health_reasons)


def _told_apart(half: Relation) -> bool:
    """Whether every reason of a half has an error of its own."""
    return bool(half.health_reasons) and set(half.health_reasons) <= _STORED.keys()


def _stored(view: View) -> Iterator[Problem]:
    """What is wrong with the points, or keeps them from coming, at the replica."""
    half, site = view.target, view.picture.site_names[1]
    if half is None:
        return
    reasons = set(half.health_reasons)
    if half.newest_point is not None and half.newest_point.damaged:
        reasons.add(Reason.NEWEST_POINT_DAMAGED)
    for reason, (code, action) in _STORED.items():
        if reason in reasons:
            yield Problem(code, half.message or reason, action, site, (reason,))


def _unquiesced(view: View) -> Iterator[Problem]:
    """Replication goes on, but what was asked for is not there: no condition says so."""
    half = view.source
    if half is not None and Reason.APP_CONSISTENT_FAILED in half.health_reasons and half.health != "Critical":
        action = "See what the guest's VSS writers and integration services say; the next attempt comes by itself."
        yield Problem(
            "AppConsistentFailed", half.message, action, view.picture.site_names[0], (Reason.APP_CONSISTENT_FAILED,)
        )


def _action(half: Relation) -> str:
    advice = next((text for reason, text in _ADVICE.items() if reason in half.health_reasons), "")
    return _ACTIONS.get(half.state) or advice or "See the event log of Hyper-V at the site."
