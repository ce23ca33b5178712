"""Which ended operations are still in the feed: enough to count attempts by, not four hundred days of them."""

from __future__ import annotations

from collections import defaultdict, deque
from datetime import datetime

from secondsite.agent import records
from secondsite.agent.changes import Feed
from secondsite.wire.facts import Operation


class News:
    """Shows the ends of operations in the feed and takes old ones out again: the oldest of a VM, and yesterday's."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._shown: defaultdict[str, deque[Operation]] = defaultdict(deque)

    def show(self, fact: Operation) -> None:
        """Publish an operation that has ended; one that is shown already stays where it is."""
        shown = self._shown[fact.vm_id]
        if all(other.key != fact.key for other in shown):
            shown.append(fact)
        self._feed.publish(Operation, fact.key, fact)
        while len(shown) > records.NEWS_PER_VM:
            self._feed.publish(Operation, shown.popleft().key, None)

    def expire(self, now: datetime) -> None:
        """Take out what ended too long ago."""
        for vm_id, shown in list(self._shown.items()):
            for fact in [fact for fact in shown if fact.end_time and now - fact.end_time > records.NEWS_FOR]:
                shown.remove(fact)
                self._feed.publish(Operation, fact.key, None)
            if not shown:
                del self._shown[vm_id]
