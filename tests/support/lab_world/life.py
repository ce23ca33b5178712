"""The life of one agent: what is durable before its end stays, what it would have done after it does not happen."""

from __future__ import annotations


class Killed(BaseException):
    """SIGKILL. No handler of the product may catch it, as none could catch the real one."""


class Life:
    """One process. `fuse`: how many more durable acts it lives for; None: for ever."""

    def __init__(self, site: str) -> None:
        self.site = site
        self.alive = True
        self.fuse: int | None = None

    def act(self) -> None:
        """Something durable is about to happen. Raises Killed where the process does not live to see it."""
        if self.alive and self.fuse is not None:
            self.alive = self.fuse > 0
            self.fuse -= 1
        if not self.alive:
            raise Killed(self.site)
