"""Carrying out one command: until it ends, is given up, or runs out of time."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec

from secondsite import logs
from secondsite.agent.driver import Command, Driver
from secondsite.wire.facts import Operation, OperationState
from secondsite.wire.operations import Verb
from secondsite.wire.problems import Code, Refusal

_log = logs.get(__name__)

# How long a driver may take to notice that its work is not wanted any more.
_CANCEL_SECONDS = 1.0
_SETTLING_TICK_SECONDS = 0.1


@dataclass(frozen=True)
class End:
    """What became of a command; the names are those of `facts.Operation`.

    `left` is the driver's work where it goes on although its end is not waited for any more.
    """

    state: OperationState
    code: str = ""
    message: str = ""
    remedy: str = ""
    result: dict[str, str] = field(default_factory=dict)
    left: asyncio.Future[Any] | None = None

    @classmethod
    def unexpected(cls, what: str, error: Exception) -> End:
        """Nobody knows how far it came, and a failure would claim to."""
        message = f"{what} failed unexpectedly ({type(error).__name__}: {error}); the result is unknown."
        return cls("Interrupted", Code.INTERNAL.value, message)

    def of(self, fact: Operation, now: datetime) -> Operation:
        """The operation with this end."""
        return msgspec.structs.replace(
            fact,
            state=self.state,
            end_time=now,
            percent=100 if self.state == "Succeeded" else fact.percent,
            code=self.code,
            message=self.message,
            remedy=self.remedy,
            result=self.result,
        )


async def carry_out(driver: Driver, command: Command, given_up: asyncio.Future[str]) -> End:
    """Let the driver perform it. `given_up` gets the reason when somebody abandons it.

    Cancelling this leaves the command as it stands, to be resumed at the next start.
    """
    if command.resumed and command.verb == Verb.CHECK_TEST_VM:
        return End("Interrupted", message="The agent was restarted during the check; its outcome is unknown.")
    work = asyncio.create_task(_work(driver, command))
    left = max(0.0, (command.deadline - driver.now()).total_seconds())
    waited_for: set[asyncio.Future[Any]] = {work, given_up}
    try:
        await asyncio.wait(waited_for, timeout=left, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await _cancel(work, command)
    if work.done() and not work.cancelled():
        return _outcome(work, command)
    reason = given_up.result() if given_up.done() else "Its deadline passed."
    return End("Abandoned", message=f"{reason} Its result is unknown.", left=None if work.done() else work)


async def _work(driver: Driver, command: Command) -> dict[str, str]:
    while command.resumed and not driver.settled():  # noqa: ASYNC110 - a driver does not say when it has settled
        await asyncio.sleep(_SETTLING_TICK_SECONDS)
    return await driver.perform(command)


async def _cancel(work: asyncio.Task[dict[str, str]], command: Command) -> None:
    if work.done():
        return
    work.cancel()
    await asyncio.wait({work}, timeout=_CANCEL_SECONDS)
    if not work.done():
        _log.warning("the driver does not let go of an operation", key=command.key, verb=command.verb)


def _outcome(work: asyncio.Task[dict[str, str]], command: Command) -> End:
    error = work.exception()
    if error is None:
        return End("Succeeded", result=work.result())
    if isinstance(error, Refusal):
        return End("Failed", error.code.value, error.detail, error.remedy)
    if not isinstance(error, Exception):
        raise error
    _log.error("the driver failed unexpectedly", key=command.key, verb=command.verb, exc_info=error)
    return End.unexpected("The driver", error)
