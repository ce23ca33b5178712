"""What a change of roles leaves behind: a word to whoever still sends to the former replica, and what is half done."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import msgspec

from secondsite.agent.lab.engine.durable import sync_directory
from secondsite.agent.lab.engine.errors import EngineError, StaleGeneration
from secondsite.agent.lab.engine.record import load_record, save_record

_RECORD = "promotion.json"
_DEMOTION = "demotion.json"


class Promotion(msgspec.Struct, frozen=True, kw_only=True):
    """`promotion.json`: what a promotion does, from the moment from which it can only go forward, and that it is done.

    `chain` are the points up to `point`, oldest first, `newer` those after it, `lineage` the ids by which the other
    side may call what it holds. `disks` are the files that become the primary's, `source_root` its tracking folder.
    """

    vm: str
    point: str
    clone: str
    generation: int
    chain: list[str]
    newer: list[str]
    lineage: list[str]
    sizes: dict[str, int]
    disks: dict[str, str]
    source_root: str
    done: bool = False


@dataclass(frozen=True, slots=True)
class PromotedAway:
    """Stands in the place of a store that is one no more (`DataServer`'s `stores`): every call gets StaleGeneration."""

    vm_id: str
    generation: int

    def refusal(self) -> StaleGeneration:
        detail = (
            f"VM {self.vm_id} has been a primary here since generation {self.generation} and takes no replication; "
            "demote the side that sends, or take this one's role away first"
        )
        return StaleGeneration(self.generation, detail)


def promoted_away(store_root: Path) -> PromotedAway | None:
    """What to answer for a store that was promoted, or is half promoted; None where there is no such thing."""
    promotion = load_promotion(store_root)
    return None if promotion is None else PromotedAway(promotion.vm, promotion.generation)


def promotion_pending(store_root: Path) -> bool:
    """Whether a kill interrupted a promotion here: then call `finish_promotion` before anything else."""
    promotion = load_promotion(store_root)
    return promotion is not None and not promotion.done


def expect_not_promoted(store_root: Path) -> None:
    """EngineError when the replica that was here became a primary."""
    promotion = load_promotion(store_root)
    if promotion is None:
        return
    if promotion.done:
        remedy = "demote that primary to replicate to here again, or forget the promotion"
    else:
        remedy = "its promotion was interrupted: finish that"
    raise EngineError(f"{store_root}: this replica became the primary in generation {promotion.generation}; {remedy}")


def forget_promotion(store_root: Path) -> None:
    """Make room for a new replica: senders of older generations are not refused any more. Fine when there is none.

    EngineError while the promotion is not finished: the disks are still in here.
    """
    if promotion_pending(store_root):
        raise EngineError(f"{store_root}: the promotion was interrupted and still has disks in here; finish it first")
    if (store_root / _RECORD).exists():
        (store_root / _RECORD).unlink()
        sync_directory(store_root)


def remove_replica(store_root: Path) -> None:
    """All that made a folder a store; its record stays."""
    (store_root / "catalog.log").unlink(missing_ok=True)
    for name in ("disks", "clones", "stale"):
        shutil.rmtree(store_root / name, ignore_errors=True)
    sync_directory(store_root)


def load_promotion(store_root: Path) -> Promotion | None:
    """None where no replica was promoted; EngineError where the record is damaged."""
    remedy = (
        "the disks of the VM lie beside it in disks/*/base.raw, or are a primary's already: see which before anything "
        "here is removed"
    )
    return load_record(store_root / _RECORD, Promotion, remedy)


def mark_done(store_root: Path, promotion: Promotion) -> None:
    save_promotion(store_root, msgspec.structs.replace(promotion, done=True))


def save_promotion(store_root: Path, promotion: Promotion) -> None:
    save_record(store_root / _RECORD, promotion)


def demotion_path(source_root: Path) -> Path:
    """Stands in a source's folder from the moment from which its demotion can only go forward."""
    return source_root / _DEMOTION


def demotion_pending(source_root: Path) -> bool:
    """Whether a kill interrupted a demotion here: then call `finish_demotion` before anything else."""
    return demotion_path(source_root).exists()


def expect_not_demoted(source_root: Path) -> None:
    """EngineError when the primary that was here is becoming a replica."""
    if demotion_pending(source_root):
        raise EngineError(f"{source_root}: the demotion of this primary was interrupted; finish that")
