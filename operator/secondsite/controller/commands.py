"""From a planned command to the request that a site gets: its key, its attempt, and when an attempt is due."""

from __future__ import annotations

from datetime import datetime, timedelta

from secondsite.errors import NotYet, SiteRefused
from secondsite.plan.actions import Command
from secondsite.plan.observed import Identity, SiteView
from secondsite.wire.agent import Fence
from secondsite.wire.facts import Operation
from secondsite.wire.operations import OperationRequest, operation_key

_FIRST_PAUSE = timedelta(seconds=1)
_LONGEST_PAUSE = timedelta(minutes=5)
_FULFILLED_SECONDS = 30.0
_UNSUCCESSFUL = ("Failed", "Interrupted", "Abandoned")


def attempt_of(command: Command, ran: tuple[Operation, ...]) -> int:
    """Which attempt of its intent a command would be: the latest while that runs or has succeeded, else the next."""
    latest = max(_same(command, ran), key=lambda op: op.attempt, default=None)
    if latest is None:
        return 1
    return latest.attempt + (latest.state in _UNSUCCESSFUL)


def check_due(command: Command, ran: tuple[Operation, ...], now: datetime) -> None:
    """Raises NotYet while the pause after the last attempt without success lasts; pauses double up to five minutes.

    So it does for a wish that was fulfilled already: asking again would only get the first answer again, as fast as
    the feed tells of it. `now` is by the site's clock, like the times of its operations.
    """
    latest = max(_same(command, ran), key=lambda op: op.attempt, default=None)
    if latest is not None and latest.state == "Succeeded":
        what = f"{command.verb} of VM {command.vm_id} has succeeded at site {command.site}; its effect is not seen yet"
        raise NotYet(what, delay=_FULFILLED_SECONDS)
    failed = [op for op in _same(command, ran) if op.state in _UNSUCCESSFUL and op.end_time is not None]
    if not failed:
        return
    last = failed[-1]
    pause = min(_FIRST_PAUSE * 2 ** min(len(failed) - 1, 10), _LONGEST_PAUSE)
    left = ((last.end_time or now) + pause - now).total_seconds()
    if left > 0:
        raise NotYet(
            f"{command.verb} at site {command.site} failed {len(failed)} times, last: {last.message or last.code}",
            last.remedy,
            delay=left,
        )


def to_request(command: Command, view: SiteView, identity: Identity, fence: Fence) -> tuple[str, OperationRequest]:
    """The operation's key and body. The key does not depend on who sends it, nor on when."""
    ran = view.operations.get(command.vm_id, ())
    attempt = attempt_of(command, ran)
    key = operation_key(identity.vault, command.vm_id, command.epoch, command.verb, command.intent, attempt)
    request = OperationRequest(
        verb=command.verb,
        vm_id=command.vm_id,
        intent=command.intent,
        attempt=attempt,
        request=command.request,
        expects=command.expects,
        epoch=command.epoch,
        fence=fence,
        deadline_seconds=command.deadline_seconds,
        arguments=command.arguments.model_dump(mode="json", by_alias=True, exclude_none=True),
    )
    return key, request


def check_outcome(command: Command, state: str, code: str, message: str, remedy: str) -> None:
    """Raises SiteRefused when the site has already ended the attempt without success."""
    if state == "Failed":
        what = f"{command.verb} of VM {command.vm_id} failed at site {command.site}: {message or code}"
        raise SiteRefused(what, remedy, code=code or "Failed")


def _same(command: Command, ran: tuple[Operation, ...]) -> list[Operation]:
    wish = (command.verb, command.intent, command.epoch)
    return [op for op in ran if (op.verb, op.intent, op.epoch) == wish]
