"""Where the core of the operator meets its site side: what a turn reads of the sites, and who acts on them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, NamedTuple, Protocol

from secondsite.api.kind import Object
from secondsite.api.vmmsite import VMMSiteSpec
from secondsite.plan.actions import Action
from secondsite.plan.observed import UNKNOWN, Identity, Registration, SiteView, Unknown
from secondsite.wire.agent import Check


class Key(NamedTuple):
    """One object of ours: the unit of work."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


SiteKey = tuple[str, str]
"""Namespace and name of a VMMSite."""

News = Callable[[SiteKey, str, str], None]
"""Told on the loop of every change at a site: which site, type of fact (or `Contact`), id.

For Relation, VM and Operation the id is that of the VM (empty: the site's own operation). Of a vault's authority it is
told with an empty site, type `Vault` and the vault's name.
"""


@dataclass(frozen=True, slots=True)
class SiteFacts:
    """What is known of a VMMSite beside its feed."""

    peer: Literal["Agent", "Bootstrap", "Stranger", "Unknown"] = "Unknown"
    certificate_expiry: datetime | None = None
    registration: Registration | None = None
    checks: tuple[Check, ...] | Unknown = UNKNOWN


@dataclass(frozen=True, slots=True)
class Receipt:
    """Where in a site's feed the effect of an accepted command can be seen."""

    site: str
    instance: str
    revision: int


class SitesPort(Protocol):
    """The mirror of all sites. Reading it costs no I/O."""

    def view(self, namespace: str, name: str) -> SiteView:
        """What the site said last; of one never heard of, nothing."""
        ...

    def facts(self, namespace: str, name: str) -> SiteFacts: ...

    def ready(self, namespace: str, name: str) -> bool:
        """Whether enough is known to report on the site: it has told everything once, or does not answer."""
        ...

    def reached(self, namespace: str, receipt: Receipt) -> bool:
        """Whether the mirror stands at or behind the receipt; one of an instance that has ended is reached."""
        ...

    def subscribe(self, listener: News, /) -> None: ...

    def sync(self, sites: Mapping[SiteKey, Object[VMMSiteSpec]], /) -> None:
        """These are all VMMSites now: start and stop feeds."""
        ...


class VaultsPort(Protocol):
    """What is held of each vault's certificate authorities."""

    def identity(self, namespace: str, vault: str) -> Identity:
        """Who commands for this vault; its id is empty until the authority's Secret was read."""
        ...

    def authorities(self, namespace: str, vault: str) -> tuple[tuple[str, datetime], ...] | Unknown:
        """(fingerprint, expiry) of each."""
        ...

    def foreign_sites(self, namespace: str, vault: str) -> tuple[str, ...]:
        """Sites of this vault that answer with an authority which we do not hold."""
        ...


class ActorPort(Protocol):
    """Performs the actions that concern a site or a vault's authority."""

    async def perform(self, key: Key, action: Action, obj: Object[Any]) -> Receipt | None:
        """Do one of the actions that concern a site or keys, once.

        Raises the kinds of `secondsite.errors`; an exception of any other sort is a defect.
        """
        ...
