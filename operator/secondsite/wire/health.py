"""Why a half of a relation is not healthy: stable codes, with what each means to a person."""

from enum import StrEnum


class Reason(StrEnum):
    """Codes of `Relation.health_reasons`. A code is API: it may be added, never renamed."""

    ERROR = "error-fix-and-resume"
    RESYNC_REQUIRED = "resync-required"
    RESYNCHRONIZING = "resynchronizing"
    CANNOT_DELIVER = "cannot-deliver"
    OUT_OF_SPACE = "out-of-space"
    REPLICA_UNREADABLE = "replica-unreadable"
    NEWEST_POINT_DAMAGED = "newest-point-damaged"
    UPDATE_FAILED = "update-failed"
    PAUSED = "paused"
    INITIAL_PENDING = "ir-pending"
    REVERSE_PENDING = "reverse-pending"
    BEHIND = "behind-over-one-hour"
    MISSED = "missed-over-20-percent"
    LATENCY = "latency-over-5-minutes"
    POINTS_DAMAGED = "points-damaged"
    APP_CONSISTENT_FAILED = "app-consistent-failed"
