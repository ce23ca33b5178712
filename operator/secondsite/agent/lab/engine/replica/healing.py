"""What happens when a damaged block is met: it is mended where that is possible, and remembered where it is not."""

import logging
from collections.abc import Callable, Iterable, Sequence

from secondsite.agent.lab.engine.blocks import true_digest
from secondsite.agent.lab.engine.replica import repair
from secondsite.agent.lab.engine.replica.core import StoreCore
from secondsite.agent.lab.engine.replica.damage import changed
from secondsite.agent.lab.engine.replica.layer import Layer
from secondsite.agent.lab.engine.replica.view import DiskView

_log = logging.getLogger(__name__)


class Healer:
    """Mends and remembers for one store; `on_change` hears, outside of all locks, that what is damaged has changed."""

    def __init__(self, core: StoreCore, on_change: Callable[[], None]) -> None:
        self._core = core
        self._on_change = on_change

    def heal(self, view: DiskView, blocks: Sequence[int]) -> tuple[Layer, ...]:
        """A read met damaged blocks: `view.Heal`. Mends what the store itself can, but never waits for a merge."""
        core, news = self._core, False
        may_mend = core.merge_lock.acquire(blocking=False)
        try:
            with core.lock:
                if view.disk not in core.replicas or view.point not in {entry.point for entry in core.contents.points}:
                    # The store is closed, or the point gone: nobody is left to heal for.
                    return view.newest_first
                fresh = core.views(view.point)[view.disk]
                places = fresh.places([block for block in blocks if fresh.check(block, 1)[1]])
                for layer in {place.layer for place in places if not place.lost}:
                    found = {place.block for place in places if place.layer == layer}
                    # A search through the whole store is for the first time, and for a scrub.
                    found = self._unknown(view.disk, layer, found)
                    news |= self.settle(view.disk, layer, found, mend=may_mend)
                return fresh.newest_first
        finally:
            if may_mend:
                core.merge_lock.release()
            self.tell(news)

    def _unknown(self, disk: str, layer: str | None, blocks: set[int]) -> set[int]:
        """Those that nobody has met yet; none of a file with more damage than is listed: that is counted by scrubs."""
        event = self._core.contents.damage.get((disk, layer))
        if event is None:
            return blocks
        return set() if event.unlisted else blocks - set(event.blocks)

    def settle(
        self,
        disk: str,
        layer: str | None,
        suspects: set[int],
        *,
        mend: bool,
        whole: frozenset[int] | None = frozenset(),
    ) -> bool:
        """Mend what is damaged among `suspects`, remember the rest; True when what is known has changed.

        `whole` are blocks found right otherwise, None: all others of the file. Both locks held, or `mend` False.
        """
        core = self._core
        replica = core.replicas[disk]
        if mend:
            right = repair.mend_locally(core.replicas, disk, layer, suspects)
        else:
            right = {block for block in suspects if repair.intact(replica, layer, block)}
        known = None if whole is None else whole | right
        event = changed(core.contents, disk, layer, suspects - right, known)
        if event is None:
            return False
        _log.warning(
            "store %s, disk %s: %d damaged blocks in %s",
            core.root,
            disk,
            len(event.blocks) + event.unlisted,
            "the base" if layer is None else f"layer {layer}",
        )
        try:
            core.log(event)
        except OSError as error:
            # Nobody is served the block all the same: whoever reads it finds out again.
            _log.warning("store %s: damage could not be written down: %s", core.root, error)
        return True

    def look_again(self, disk: str) -> None:
        """Forget damage of a disk that is none any more."""
        core, news = self._core, False
        with core.lock:
            for name, layer in list(core.contents.damage):
                if name == disk:
                    listed = core.contents.damage[name, layer].blocks
                    whole = frozenset(block for block in listed if repair.intact(core.replicas[disk], layer, block))
                    news |= self.settle(disk, layer, set(), mend=False, whole=whole)
        self.tell(news)

    def accept(self, disk: str, blocks: Iterable[tuple[int, memoryview | bytes]]) -> int:
        """Mend with what a peer sent: only where content has the digest of what is damaged. How many blocks it was."""
        core = self._core
        mended: dict[str | None, set[int]] = {}
        with core.merge_lock:
            with core.lock:
                for block, content in blocks:
                    for layer in self._fitting(disk, block, true_digest(content)):
                        repair.mend(core.replicas[disk], layer, block, content)
                        mended.setdefault(layer, set()).add(block)
                for layer, whole in mended.items():
                    self.settle(disk, layer, set(), mend=False, whole=frozenset(whole))
            self.tell(bool(mended))
        return len(set().union(*mended.values()))

    def _fitting(self, disk: str, block: int, digest: bytes) -> list[str | None]:
        """The files in which a block of this digest is damaged."""
        replica = self._core.replicas[disk]
        listed = [
            event for event in self._core.contents.damage.values() if event.disk == disk and block in event.blocks
        ]
        return [event.layer for event in listed if repair.expected_digest(replica, event.layer, block) == digest]

    def tell(self, news: bool) -> None:
        if news:
            self._on_change()
