"""What a report is made from: the picture as last heard, what this turn planned, and what went wrong."""

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from secondsite.plan.actions import Plan, Trouble
from secondsite.plan.observed import UNKNOWN, SiteView, VMWorld
from secondsite.plan.protectedvm.picture import Picture
from secondsite.wire.facts import Relation


@dataclass(frozen=True)
class View:
    """Everything that judging looks at. Halves of another vault count as none."""

    picture: Picture
    """As last heard: a site that fell silent a moment ago counts as it was."""
    present: Picture
    """As it is known now, which is what was planned from."""
    plan: Plan
    troubles: tuple[Trouble, ...] = ()

    @property
    def world(self) -> VMWorld:
        return self.picture.world

    @property
    def now(self) -> datetime:
        return self.picture.world.now

    @cached_property
    def silent(self) -> tuple[SiteView, ...]:
        """Sites that cannot be asked."""
        views = (self.world.source, self.world.target)
        return tuple(view for view in views if view is not None and not view.known)

    @cached_property
    def source(self) -> Relation | None:
        """Our half at the source; None also while it is not known."""
        return self._own(self.picture.source)

    @cached_property
    def target(self) -> Relation | None:
        """Our half at the target; None also while it is not known."""
        return self._own(self.picture.target)

    def _own(self, half: object) -> Relation | None:
        return half if isinstance(half, Relation) and self.picture.claim(half) == "Ours" else None

    @property
    def source_unknown(self) -> bool:
        return self.picture.source is UNKNOWN

    @property
    def target_unknown(self) -> bool:
        """Also where no policy says which site the target is."""
        return self.picture.target is UNKNOWN

    @property
    def silence(self) -> str:
        """Who does not answer, and why, as a sentence."""
        parts = (
            f"site {view.name}: {view.contact.message or 'it has not told everything yet'}" for view in self.silent
        )
        return f"Not known: {'; '.join(parts)}."
