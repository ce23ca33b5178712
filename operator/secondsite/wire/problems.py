"""Errors of the contract: RFC 9457 problem bodies, told apart by a stable code and never by their text."""

from enum import StrEnum

from secondsite.wire.base import Message

CONTENT_TYPE = "application/problem+json"


class Code(StrEnum):
    """What went wrong. A code is API: it may be added, never renamed."""

    INVALID_REQUEST = "InvalidRequest"
    NOT_REGISTERED = "NotRegistered"
    WRONG_ROLE = "WrongRole"
    WRONG_BUNDLE = "WrongBundle"
    KEY_MISMATCH = "KeyMismatch"
    NOT_FOUND = "NotFound"
    KEY_REUSED = "KeyReused"
    FENCED = "Fenced"
    TERM_TAKEN = "TermTaken"
    FOREIGN_CONTROL_PLANE = "ForeignControlPlane"
    STALE_EPOCH = "StaleEpoch"
    STATE_CONFLICT = "StateConflict"
    BUSY = "Busy"
    UNSUPPORTED = "Unsupported"
    NOT_IMPLEMENTED = "NotImplemented"
    SETTLING = "Settling"
    IN_USE = "InUse"
    NOT_AUTHORIZED = "NotAuthorized"
    TRANSPORT_CONFLICT = "TransportConflict"
    PEER_UNREACHABLE = "PeerUnreachable"
    POOL_EXHAUSTED = "PoolExhausted"
    STORAGE_EXHAUSTED = "StorageExhausted"
    TOO_LARGE = "TooLarge"
    CHECK_FAILED = "CheckFailed"
    """A check of a test VM did not pass in its time: a finding about the VM, not a fault of the site."""
    INTERNAL = "Internal"


class Cure(StrEnum):
    """Who can do something about a problem, and so what a caller does next."""

    RETRY = "Retry"
    """It may pass by itself: back off and ask again."""
    LOOK = "Look"
    """The caller's picture is old: observe again, then plan again."""
    PERSON = "Person"
    """A person has to change something: report it and wait for news."""
    STOP = "Stop"
    """The caller is not the one in charge any more."""


STATUS: dict[Code, int] = {
    Code.INVALID_REQUEST: 400,
    Code.NOT_REGISTERED: 403,
    Code.WRONG_ROLE: 403,
    Code.WRONG_BUNDLE: 403,
    Code.KEY_MISMATCH: 409,
    Code.NOT_FOUND: 404,
    Code.KEY_REUSED: 409,
    Code.FENCED: 409,
    Code.TERM_TAKEN: 409,
    Code.FOREIGN_CONTROL_PLANE: 409,
    Code.STALE_EPOCH: 409,
    Code.STATE_CONFLICT: 409,
    Code.BUSY: 409,
    Code.UNSUPPORTED: 422,
    Code.NOT_IMPLEMENTED: 501,
    Code.SETTLING: 503,
    Code.IN_USE: 409,
    Code.NOT_AUTHORIZED: 403,
    Code.TRANSPORT_CONFLICT: 409,
    Code.PEER_UNREACHABLE: 502,
    Code.POOL_EXHAUSTED: 409,
    Code.STORAGE_EXHAUSTED: 507,
    Code.TOO_LARGE: 413,
    Code.CHECK_FAILED: 422,
    Code.INTERNAL: 500,
}

CURE: dict[Code, Cure] = {
    Code.INVALID_REQUEST: Cure.PERSON,
    Code.NOT_REGISTERED: Cure.RETRY,
    Code.WRONG_ROLE: Cure.PERSON,
    Code.WRONG_BUNDLE: Cure.PERSON,
    Code.KEY_MISMATCH: Cure.PERSON,
    Code.NOT_FOUND: Cure.LOOK,
    Code.KEY_REUSED: Cure.LOOK,
    Code.FENCED: Cure.STOP,
    Code.TERM_TAKEN: Cure.STOP,
    Code.FOREIGN_CONTROL_PLANE: Cure.PERSON,
    Code.STALE_EPOCH: Cure.LOOK,
    Code.STATE_CONFLICT: Cure.LOOK,
    Code.BUSY: Cure.LOOK,
    Code.UNSUPPORTED: Cure.PERSON,
    Code.NOT_IMPLEMENTED: Cure.PERSON,
    Code.SETTLING: Cure.RETRY,
    Code.IN_USE: Cure.RETRY,
    Code.NOT_AUTHORIZED: Cure.PERSON,
    Code.TRANSPORT_CONFLICT: Cure.PERSON,
    Code.PEER_UNREACHABLE: Cure.RETRY,
    Code.POOL_EXHAUSTED: Cure.PERSON,
    Code.STORAGE_EXHAUSTED: Cure.PERSON,
    Code.TOO_LARGE: Cure.PERSON,
    Code.CHECK_FAILED: Cure.PERSON,
    Code.INTERNAL: Cure.RETRY,
}


class Problem(Message):
    """The body of every answer that is not a success."""

    type: str = "about:blank"
    title: str
    status: int
    code: Code
    detail: str
    """What was tried, on what, and what came back."""
    remedy: str = ""
    """What a person can do; empty where nothing is owed."""
    highest_term: int | None = None
    """With `Fenced`: the highest term this site has seen."""


class Refusal(Exception):
    """Raised below the HTTP layer, where the facts are known; answered there as a Problem."""

    def __init__(self, code: Code, detail: str, *, remedy: str = "", highest_term: int | None = None) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail
        self.remedy = remedy
        self.highest_term = highest_term

    def problem(self) -> Problem:
        """The body that answers the caller."""
        return Problem(
            title=self.code.value,
            status=STATUS[self.code],
            code=self.code,
            detail=self.detail,
            remedy=self.remedy,
            highest_term=self.highest_term,
        )
