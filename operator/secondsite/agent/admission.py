"""Whether a command may begin now: a no here is a conflict, and nothing has happened."""

from __future__ import annotations

from secondsite.agent.driver import Driver
from secondsite.agent.ledger import ENABLING
from secondsite.wire.agent import Capability
from secondsite.wire.facts import Ledger, Operation
from secondsite.wire.operations import OperationRequest, Verb
from secondsite.wire.problems import Code, Refusal

_CAPABILITY = {Verb.SYNCHRONIZE: Capability.SYNCHRONIZE}


def check_admission(request: OperationRequest, driver: Driver, ledger: Ledger, busy: Operation | None) -> None:
    """Raises Refusal. `busy` is the operation that runs on this VM already; an empty VM is the site."""
    needed = _CAPABILITY.get(request.verb)
    if needed is not None and needed not in driver.capabilities:
        raise Refusal(Code.UNSUPPORTED, f"{request.verb} needs the capability {needed}, which this site lacks")
    if not driver.settled():
        raise Refusal(Code.SETTLING, "The site is settling: its relations cannot be read yet")
    if busy is not None:
        subject = f"VM {request.vm_id}" if request.vm_id else "the site"
        how = "still runs" if busy.state == "Running" else f"is {busy.state}, but its work still runs"
        raise Refusal(Code.BUSY, f"{busy.verb} ({busy.key}) {how} on {subject}")
    if request.vm_id:
        _check_epoch(request, ledger)
        _check_state(request, driver)


def _check_epoch(request: OperationRequest, ledger: Ledger) -> None:
    lowest = ledger.epoch
    if request.verb in ENABLING:
        lowest = max(lowest, ledger.released_epoch + 1)
    if request.epoch < lowest:
        raise Refusal(
            Code.STALE_EPOCH,
            f"{request.verb} is of epoch {request.epoch}, VM {request.vm_id} is in epoch {lowest} here",
        )


def _check_state(request: OperationRequest, driver: Driver) -> None:
    if not request.expects:
        return
    state = driver.state(request.vm_id)
    if state not in request.expects:
        expected = " or ".join(request.expects)
        raise Refusal(
            Code.STATE_CONFLICT,
            f"{request.verb} expects VM {request.vm_id} to be {expected} at this site, it is {state}",
        )
