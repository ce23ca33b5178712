"""The closed set of things that a turn can do. Deciding is here; doing is the shell's."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from secondsite.wire.agent import Settings
from secondsite.wire.base import Message
from secondsite.wire.operations import Request, Verb
from secondsite.wire.resources import AssociationWish, ReservationWish, TestNetworkWish, TombstoneWish


class Limit(StrEnum):
    """What the vault's `limits` bound; slots are granted per pair of sites."""

    INITIAL_REPLICATIONS = "initialReplications"
    SETTINGS_UPDATES = "settingsUpdates"
    TEST_FAILOVERS = "testFailovers"


@dataclass(frozen=True, slots=True)
class Slot:
    """A place that a command needs before it may start. Higher priority first, then older, then uid."""

    limit: Limit
    pair: tuple[str, str]
    """(source site, target site)."""
    priority: int = 50


@dataclass(frozen=True, slots=True)
class Command:
    """Start one verb at a site. The shell adds key, attempt, fence; wishes are stated, never steps of wishes.

    The same `intent` is the same wish: it is never begun twice once it has succeeded.
    """

    site: str
    verb: Verb
    vm_id: str
    intent: str
    arguments: Message
    expects: tuple[str, ...] = ()
    epoch: int = 0
    request: Request | None = None
    slot: Slot | None = None
    deadline_seconds: int = 3600


@dataclass(frozen=True, slots=True)
class Associate:
    """Prepare one side of a pair of clouds. `wish.fence` is filled in by the shell, as in all wishes below."""

    site: str
    id: str
    wish: AssociationWish


@dataclass(frozen=True, slots=True)
class Dissociate:
    site: str
    id: str


@dataclass(frozen=True, slots=True)
class Reserve:
    """Ask the site for addresses of one adapter. What it chose is seen in its Pool facts."""

    site: str
    vm_id: str
    adapter: str
    wish: ReservationWish


@dataclass(frozen=True, slots=True)
class Release:
    site: str
    vm_id: str
    adapter: str


@dataclass(frozen=True, slots=True)
class MakeTestNetwork:
    site: str
    id: str
    wish: TestNetworkWish


@dataclass(frozen=True, slots=True)
class RemoveTestNetwork:
    site: str
    id: str


@dataclass(frozen=True, slots=True)
class Configure:
    """Tell the site its own settings."""

    site: str
    settings: Settings


@dataclass(frozen=True, slots=True)
class LeaveTombstone:
    """Remember in the cluster, and at the site where it answers, what a deletion still owes."""

    site: str
    id: str
    wish: TombstoneWish


@dataclass(frozen=True, slots=True)
class AddFinalizer:
    finalizer: str


@dataclass(frozen=True, slots=True)
class RemoveFinalizer:
    finalizer: str


@dataclass(frozen=True, slots=True)
class DeleteSelf:
    """Delete the object of this turn (its time to live is over)."""


@dataclass(frozen=True, slots=True)
class WriteEvidence:
    """An immutable ConfigMap beside the object, named `name`; the same name is never written twice."""

    name: str
    data: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class CreateAuthority:
    """Make the vault's certificate authority. Only where none is held and no site answers with another."""


@dataclass(frozen=True, slots=True)
class IssueBundle:
    """Record a registration as outstanding, then write its Secret."""

    site: str
    token: str


@dataclass(frozen=True, slots=True)
class Register:
    """Redeem the outstanding bundle: request, bind durably, sign, install, confirm on a new connection."""

    site: str


@dataclass(frozen=True, slots=True)
class Renew:
    """A new certificate for a registered site over its present identity."""

    site: str


@dataclass(frozen=True, slots=True)
class DropRegistration:
    """Delete the Secret and the record of a bundle that was redeemed or is not wanted any more."""

    site: str


Action = (
    Command
    | Associate
    | Dissociate
    | Reserve
    | Release
    | MakeTestNetwork
    | RemoveTestNetwork
    | Configure
    | LeaveTombstone
    | AddFinalizer
    | RemoveFinalizer
    | DeleteSelf
    | WriteEvidence
    | CreateAuthority
    | IssueBundle
    | Register
    | Renew
    | DropRegistration
)


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do now. Actions are independent of each other; what must come later is planned in a later turn.

    `due` is when to look again though nothing was heard (None: only news can change anything).
    `waiting` says in one reason and sentence why nothing is done, for the report.
    """

    actions: tuple[Action, ...] = ()
    due: datetime | None = None
    waiting: tuple[str, str] | None = None


NOTHING = Plan()


@dataclass(frozen=True, slots=True)
class Trouble:
    """What an action of this turn, or of the last ones, came to when it did not go well."""

    action: Action | None
    kind: str
    """One of the error kinds: `Refused`, `NotYet`, `SiteUnreachable`, `SiteRefused`, `Queued`, `Bug`."""
    code: str
    message: str
    remedy: str = ""
    site: str = ""
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """One condition without its times: those are the writer's."""

    type: str
    status: str
    reason: str
    message: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """What is to be seen of an object. `status` has the API's spelling; what it does not name is removed.

    `volatile` names top-level fields of status whose change alone is no reason to write at once.
    """

    findings: tuple[Finding, ...]
    status: Mapping[str, object] = field(default_factory=dict)
    volatile: frozenset[str] = frozenset()
    due: datetime | None = None
