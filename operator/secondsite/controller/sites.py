"""All mirrors of sites, and who hears of what changes in them. Reading them costs nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Literal

from secondsite.controller.mirror import SiteMirror
from secondsite.controller.ports import News, Receipt, SiteKey
from secondsite.plan.observed import UNKNOWN, Contact, SiteView
from secondsite.trust.certificates import Peer
from secondsite.wire.agent import AgentInfo, Check
from secondsite.wire.feed import Changes

_CLOCK_SET = timedelta(seconds=1)


class Sites:
    """All mirrors, and who wants to hear of changes."""

    def __init__(self) -> None:
        self._mirrors: dict[SiteKey, SiteMirror] = {}
        self._listeners: list[News] = []

    def mirror(self, key: SiteKey) -> SiteMirror:
        """The mirror of this site, made at first mention."""
        return self._mirrors.setdefault(key, SiteMirror(key))

    def drop(self, key: SiteKey) -> None:
        """Forget a site whose VMMSite is gone."""
        self._mirrors.pop(key, None)
        self.tell(key, "Contact", "")

    def view(self, namespace: str, name: str) -> SiteView:
        """What is known of a site now; of one never heard of, nothing."""
        mirror = self._mirrors.get((namespace, name))
        return SiteView(name=name) if mirror is None else mirror.view()

    def views(self) -> list[SiteMirror]:
        return list(self._mirrors.values())

    def subscribe(self, listener: News) -> None:
        self._listeners.append(listener)

    def tell(self, key: SiteKey, kind: str, id_: str) -> None:
        """Pass news on. Called on the loop."""
        for listener in self._listeners:
            listener(key, kind, id_)

    def take(self, key: SiteKey, page: Changes) -> None:
        """Take in a page of a feed and pass on what it changed."""
        mirror = self.mirror(key)
        was_synced = mirror.synced
        for kind, id_ in mirror.take(page):
            self.tell(key, kind, id_)
        if mirror.synced and not was_synced:
            self.tell(key, "Contact", "")

    def contact(self, key: SiteKey, now: datetime, *, failure: tuple[str, str] | None = None) -> None:
        """Note that the site answered, or with which (reason, message) it did not."""
        mirror = self.mirror(key)
        before = mirror.contact
        answer: Literal["Reachable", "Unreachable"] = "Reachable" if failure is None else "Unreachable"
        reason, message = failure or ("", "")
        since = before.since if before.answer == answer else now
        last = now if failure is None else before.last_time
        mirror.contact = Contact(answer, since, last, reason, message)
        if failure is not None:
            # Who answers next may be another process with another memory: believe it after its first page.
            mirror.synced = False
        if (before.answer, before.reason) != (answer, reason):
            self.tell(key, "Contact", "")

    def ready(self, namespace: str, name: str) -> bool:
        """Whether enough is known to report on the site: it has told everything once, or does not answer."""
        mirror = self._mirrors.get((namespace, name))
        return mirror is not None and (mirror.synced or mirror.contact.answer == "Unreachable")

    def reached(self, namespace: str, receipt: Receipt) -> bool:
        """Whether the mirror shows what the receipt stands for; an instance that has ended shows nothing more."""
        mirror = self._mirrors.get((namespace, receipt.site))
        if mirror is None or receipt.instance in mirror.ended:
            return True
        # A receipt may be of a process that the feed has not met yet.
        return mirror.instance == receipt.instance and mirror.revision >= receipt.revision

    def foreign(self, key: SiteKey, vault_id: str | None) -> None:
        """Note what a probe found while we hold no authority: the vault whose agent answers, or empty; None: none."""
        mirror = self.mirror(key)
        if mirror.foreign != vault_id:
            mirror.foreign = vault_id
            self.tell(key, "Contact", "")

    def suspend(self, key: SiteKey, *, suspended: bool) -> None:
        mirror = self.mirror(key)
        if mirror.suspended != suspended:
            mirror.suspended = suspended
            self.tell(key, "Contact", "")

    def met(self, key: SiteKey, *, info: AgentInfo, peer: Peer | None, skew: timedelta) -> None:
        """Note what the agent says of itself and whose certificate it showed."""
        mirror = self.mirror(key)
        changed = (mirror.peer, mirror.info and replaced_time(mirror.info)) != (peer, replaced_time(info))
        # Every time that the site told means something else now.
        changed |= abs(mirror.skew - skew) > _CLOCK_SET
        mirror.info, mirror.peer, mirror.skew = info, peer, skew
        if changed:
            self.tell(key, "Contact", "")

    def shown(self, key: SiteKey, peer: Peer) -> None:
        """Note which certificate a site was just seen to show, before its feed meets it: nothing is renewed twice."""
        self.mirror(key).peer = peer

    def checked(self, key: SiteKey, checks: tuple[Check, ...]) -> None:
        mirror = self.mirror(key)
        if mirror.checks != checks:
            mirror.checks = checks
            self.tell(key, "Contact", "")

    def unsync(self, key: SiteKey) -> None:
        """The agent was replaced: nothing that it said counts until it has told everything again."""
        mirror = self.mirror(key)
        mirror.synced, mirror.cursor, mirror.checks = False, "", UNKNOWN


def replaced_time(info: AgentInfo) -> AgentInfo:
    """The same without what changes with every call."""
    return info.model_copy(update={"time": info.time.min.replace(tzinfo=UTC), "operations_begun": 0})
