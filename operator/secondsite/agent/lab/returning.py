"""The first cycle of a primary, which may be to a side that was the primary before: only what differs goes there."""

from __future__ import annotations

from secondsite import logs
from secondsite.agent.lab import cycles, turns
from secondsite.agent.lab.engine import Consistency, HeadConflict, MapNotTrusted, shut_down
from secondsite.agent.lab.turns import Turn

_log = logs.get(__name__)


def deliver_first(turn: Turn) -> None:
    """Initial replication (table rows 2 and 32).

    To a former primary it carries what either side has written since they parted. Where one of them does not know that
    any more, the disks are compared.
    """
    try:
        turns.deliver(turn)
    except (MapNotTrusted, HeadConflict) as error:
        if turn.half.generation == 1:
            raise
        _log.warning("the former primary's disks are compared", vm=turn.half.vm_name, error=str(error))
        found = turn.source.compare(turn.client, stop=turn.stop)
        _log.info("the disks are compared", vm=turn.half.vm_name, different=found.blocks_different)
        turns.deliver(turn)


def deliver_last(turn: Turn) -> None:
    """What is pending, as the last point before a planned failover, while the guest is off (table row 23)."""
    reached = None
    # A cycle that was under way comes first: it is as old as its freeze.
    while reached is not Consistency.Synced:
        result = turn.source.run_cycle(turn.client, stop=turn.stop, quiesce=shut_down)
        reached = result.consistency
        turn.note(cycles.delivered(turn.newest, result, turn.started, turn.works.clock))
