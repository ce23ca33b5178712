"""How a command is planned: never twice for nothing, never while another one of the same VM runs."""

from datetime import datetime, timedelta

from secondsite.plan.actions import Command, Limit, Plan, Slot
from secondsite.plan.intents import intent, same_wish
from secondsite.plan.observed import SiteView
from secondsite.plan.protectedvm.picture import Picture
from secondsite.wire.base import Message
from secondsite.wire.facts import Operation
from secondsite.wire.operations import Verb

_AGAIN = timedelta(minutes=1)
"""A site that carried out a command and shows no effect is asked again after this."""


def wait(reason: str, message: str, due: datetime | None = None) -> Plan:
    """Do nothing, and say why."""
    return Plan(due=due, waiting=(str(reason), message))


def slot(picture: Picture, limit: Limit) -> Slot:
    """A place between this VM's two sites."""
    return Slot(limit, picture.site_names, picture.spec.initial_replication_priority)


def order(
    picture: Picture,
    view: SiteView,
    verb: Verb,
    arguments: Message,
    *,
    expects: tuple[str, ...],
    why: tuple[str, str],
    epoch: int | None = None,
    limit: Limit | None = None,
    again: timedelta = _AGAIN,
) -> Plan:
    """One command at one site. `why` is the reason and the sentence for people while it is under way."""
    wish = intent(arguments, view, picture.vm_id)
    rest = _rest(picture, view, verb, wish, again)
    if rest is not None:
        return Plan(due=rest, waiting=why)
    command = Command(
        site=view.name,
        verb=verb,
        vm_id=picture.vm_id,
        intent=wish,
        arguments=arguments,
        expects=expects,
        epoch=picture.epoch if epoch is None else epoch,
        slot=slot(picture, limit) if limit else None,
    )
    return Plan((command,), waiting=why)


def _rest(picture: Picture, view: SiteView, verb: Verb, wish: str, again: timedelta) -> datetime | None:
    """Until when to leave the site alone, where the very same command was the last that it completed."""
    last = last_ended(view, picture.vm_id)
    if last is None or last.verb != verb or last.state != "Succeeded" or not same_wish(last.intent, wish):
        return None
    until = ended(last, view) + scaled(view, again)
    return until if until > picture.world.now else None


def last_ended(view: SiteView, vm_id: str, verb: Verb | None = None) -> Operation | None:
    """The latest operation that has ended; looks (checks of test VMs) count for nothing."""
    found = [
        op
        for op in view.operations.get(vm_id, ())
        if op.end_time is not None and op.verb != Verb.CHECK_TEST_VM and verb in (None, op.verb)
    ]
    return max(found, key=lambda op: (op.end_time, op.start_time), default=None)


def ended(operation: Operation, view: SiteView) -> datetime:
    """When an operation ended, by the operator's clock."""
    return (operation.end_time or operation.start_time) - view.skew


def scaled(view: SiteView, span: timedelta) -> timedelta:
    """A span of replication's own time: the lab may hurry."""
    return span / view.info.hurry if view.info and view.info.hurry > 0 else span


def running(picture: Picture) -> tuple[str, Operation] | None:
    """(site, operation) of what runs for this VM."""
    for view in (picture.world.source, picture.world.target):
        if view is not None and view.known and (found := view.running(picture.vm_id)):
            return view.name, found[0]
    return None
