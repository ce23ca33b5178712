"""Making a replica the primary at once: a guest starts on a thin clone, and nothing of the former primary is taken."""

from secondsite.agent.lab.engine.errors import EngineError, PointInUse
from secondsite.agent.lab.engine.replica.catalogue import Promoted, PromotionCancelled
from secondsite.agent.lab.engine.replica.clone import Clone
from secondsite.agent.lab.engine.replica.contents import Contents
from secondsite.agent.lab.engine.replica.store import TargetStore


def fail_over(store: TargetStore, point_id: str, clone_id: str, generation: int) -> Clone:
    """Make this side the primary: the guest may write to the clone at once, and older generations are refused.

    Durable. What the clone has of its own is what changed since the point. The same again opens the clone again.
    UnknownPoint; EngineError when the generation is not newer than the sender's, or another failover stands.
    """
    core = store.core
    with core.lock:
        _expect_failover(core.contents, point_id, clone_id, generation)
        clone = store.clone(point_id, clone_id)
        if core.contents.promoted is None:
            core.log(Promoted(point=point_id, clone=clone_id, generation=generation))
        return clone


def cancel_failover(store: TargetStore, clone_id: str) -> None:
    """Give the role back: the former primary may go on, and what was written here is gone. Close the clone first.

    May be repeated. EngineError when another failover stands, PointInUse while the clone is open.
    """
    core = store.core
    with core.lock:
        promoted = core.contents.promoted
        if promoted is not None and promoted.clone != clone_id:
            raise EngineError(f"failed over with clone {promoted.clone}, not {clone_id}: cancel that one")
        expect_closed(store, clone_id)
        if promoted is not None:
            core.log(PromotionCancelled())
        store.drop_clone(clone_id)


def expect_closed(store: TargetStore, clone_id: str) -> None:
    """PointInUse while a guest may write to the clone."""
    if store.is_open(clone_id):
        raise PointInUse(f"VM {store.vm_id}: clone {clone_id} is open; stop its guest and close it first")


def _expect_failover(contents: Contents, point_id: str, clone_id: str, generation: int) -> None:
    promoted = contents.promoted
    if promoted is not None:
        if (promoted.point, promoted.clone, promoted.generation) != (point_id, clone_id, generation):
            raise EngineError(
                f"failed over already, to point {promoted.point}, clone {promoted.clone}, generation "
                f"{promoted.generation}; cancel that failover before another"
            )
    elif generation <= contents.generation:
        raise EngineError(f"generation {generation} is not new, {contents.generation} is here; choose a higher one")
