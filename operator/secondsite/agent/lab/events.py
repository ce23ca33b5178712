"""The words of the transition table: what happens to a half, what must hold beside its state, what it brings about."""

from __future__ import annotations

from enum import StrEnum


class Event(StrEnum):
    """What happens to a half: first what people command, then what replication itself meets."""

    PREPARE = "PrepareReplica"
    ENABLE = "EnableReplication"
    CONFIGURE = "ConfigureReplica"
    START_INITIAL = "StartInitialReplication"
    START_INITIAL_LATER = "StartInitialReplication at a time"
    STOP_INITIAL = "StopInitialReplication"
    EXPORT_INITIAL = "ExportInitialReplication"
    IMPORT_INITIAL = "ImportInitialReplication"
    UPDATE_SETTINGS = "UpdateSettings"
    CHANGE_DISKS = "UpdateSettings of the replicated disks"
    SYNCHRONIZE = "Synchronize"
    SUSPEND = "Suspend"
    RESUME = "Resume"
    RESYNCHRONIZE = "Resynchronize"
    RESYNCHRONIZE_LATER = "Resynchronize at a time"
    STOP_RESYNCHRONIZE = "StopResynchronize"
    DISABLE = "DisableReplication"
    REMOVE_REPLICA = "RemoveReplica"
    RESET_STATISTICS = "ResetStatistics"
    START_TEST = "StartTestFailover"
    CHECK_TEST = "CheckTestVM"
    STOP_TEST = "StopTestFailover"
    PREPARE_FAILOVER = "PrepareFailover"
    FAILOVER = "Failover"
    CANCEL_FAILOVER = "CancelFailover"
    COMMIT_FAILOVER = "CommitFailover"
    REVERSE = "ReverseReplication"
    DEMOTE = "DemoteToReplica"
    START_VM = "StartVM"
    STOP_VM = "StopVM"

    PEER_ENABLED = "peer enabled replication"
    INITIAL_TIME_CAME = "time of initial replication came"
    EXPORT_DONE = "export to media done"
    INITIAL_DONE = "initial replication done"
    RETRIES_EXHAUSTED = "retries exhausted"
    CYCLE_DONE = "cycle done"
    CYCLE_FAILED = "cycle failed, transient"
    CYCLE_REFUSED = "cycle refused by the replica's side"
    PEER_FAILED_OVER = "cycle refused: the replica was failed over"
    OUT_OF_BOUNDS = "write beyond the end of the replica's disk"
    RESYNC_NEEDED = "resynchronization needed"
    PEER_RESYNCHRONIZES = "peer resynchronizes"
    PEER_STOPPED_RESYNC = "peer stopped resynchronizing"
    RESYNC_DONE = "resynchronization done"
    FAILOVER_DONE = "failover done"
    PEER_REVERSED = "peer reversed replication"
    SERVICE_RESTARTED = "VMMS restarted"
    HOST_CRASHED = "host crashed"
    DISKS_CHANGED = "replicated disks changed"
    DISKS_FAILED = "change of the replicated disks failed"


class Guard(StrEnum):
    """What must hold beside the state."""

    NONE = ""
    INITIAL_DONE = "initial replication is finished"
    INITIAL_PENDING = "initial replication is not finished"
    NO_TEST_VM = "there is no test VM"
    VM_OFF = "the virtual machine is off"
    SCHEDULED = "a time was set for the start"
    WITHIN_A_WEEK = "the time is in the future, by seven days at the most"
    SAME_SIZES = "the disks have the same sizes at both sides"
    PEER_PREPARED = "the failover was planned and the other side is prepared"
    PEER_IS_REPLICA = "the other side was made a replica"
    MAY_SCAN = "the site scans the disks after a crash"
    CANNOT_SCAN = "the site cannot scan the disks after a crash"


class Effect(StrEnum):
    """What a transition does beside changing the state.

    Code asks the row for those that can be left out (TRACKING_STOPS, POINTS_DELETED); the others are what the engine's
    step for that transition is, and stand here for the reader and for docs/hyper-v-replica.md.
    """

    TRACKING_BEGINS = "changes are tracked from here on"
    TRACKING_STOPS = "changes are not tracked any more, and nothing is sent"
    POINTS_DELETED = "every older recovery point is deleted"
    LAST_DELTA = "what is pending is sent, and becomes a synced recovery point"
    OTHER_POINTS_REMOVED = "the other recovery points are removed"
    CHANGES_DISCARDED = "what the failed-over VM wrote is discarded, and it is turned off"
    RESYNC_CANCELLED = "a resynchronization under way is cancelled"
