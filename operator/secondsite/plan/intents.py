"""When two commands are the same wish. The same intent is never begun twice once it has succeeded."""

from secondsite.plan.observed import SiteView
from secondsite.wire.base import Message
from secondsite.wire.operations import Request, digest


def changes(view: SiteView, vm_id: str) -> int:
    """How many changes of this VM its site has completed."""
    ledger, relation = view.ledgers.get(vm_id), view.relations.get(vm_id)
    return max(ledger.changes if ledger else 0, relation.changes if relation else 0)


def intent(arguments: Message, view: SiteView, vm_id: str, request: Request | None = None) -> str:
    """The request's token, else what is wished and since when: suspend, resume, suspend are three intents."""
    if request is not None:
        return f"{request.name}:{request.token}"
    return f"{digest(arguments)}.{changes(view, vm_id)}"


def same_wish(one: str, other: str) -> bool:
    """Whether two intents ask for the same, whenever they were asked."""
    return one.partition(".")[0] == other.partition(".")[0]
