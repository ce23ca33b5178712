"""The policy's settings at both halves of a running relation: compared by value, never by generation."""

from secondsite.api.protectedvm_reasons import ProtectedVMReason as R
from secondsite.plan.actions import Limit, Plan
from secondsite.plan.observed import Half, SiteView
from secondsite.plan.protectedvm import desired
from secondsite.plan.protectedvm.enable import configure
from secondsite.plan.protectedvm.orders import order
from secondsite.plan.protectedvm.picture import Picture
from secondsite.wire.arguments import UpdateSettings
from secondsite.wire.facts import Relation
from secondsite.wire.operations import Verb

_CHANGEABLE = (
    "ReadyForInitialReplication",
    "InitialReplicationInProgress",
    "WaitingForInitialReplication",
    "Replicating",
    "Suspended",
    "Error",
    "WaitingForStartResynchronize",
)


def at_source(picture: Picture) -> Plan | None:
    return _update(picture, picture.source, picture.world.source)


def at_target(picture: Picture) -> Plan | None:
    return _update(picture, picture.target, picture.world.target)


def _update(picture: Picture, half: Half, view: SiteView | None) -> Plan | None:
    wanted = picture.settings
    if not isinstance(half, Relation) or view is None or wanted is None or half.state not in _CHANGEABLE:
        return None
    if desired.has_settings(half, wanted):
        return None
    return order(
        picture,
        view,
        Verb.UPDATE_SETTINGS,
        UpdateSettings(settings=wanted),
        expects=_CHANGEABLE,
        why=(R.APPLYING, f"Site {view.name} takes over the policy's settings."),
        limit=Limit.SETTINGS_UPDATES,
    )


STEPS = (
    at_source,
    configure,
    at_target,
)
