"""A lab site that dies after its n-th durable word: nothing that it would have noted later is there at its start."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from secondsite.agent.lab.state import Documents, Half
from support.lab import LabSite


class Died(RuntimeError):
    """Thrown in the thread of the verb, where it would have been killed."""


class Death:
    """Counts what a site writes to its store, and keeps everything after the n-th word from it."""

    def __init__(self, documents: Documents, word: int) -> None:
        self._documents = documents
        self._left = word
        self.happened = False
        self._put, self._remove = documents.put, documents.remove

    def put(self, id_: str, document: Any) -> None:
        """As the store's own."""
        if self._alive():
            self._put(id_, document)
            self._count(thrown=not isinstance(document, Half))

    def remove(self, kind: Any, id_: str) -> None:
        """As the store's own."""
        if self._alive():
            self._remove(kind, id_)
            self._count(thrown=True)

    def _alive(self) -> bool:
        return not self.happened

    def _count(self, *, thrown: bool) -> None:
        self._left -= 1
        if self._left == 0:
            self.happened = True
            # Halves are written everywhere, also where files are just being opened that nobody would close.
            if thrown:
                raise Died("killed by the test")


@contextmanager
def dying(site: LabSite, word: int, monkeypatch: Any) -> Iterator[Death]:
    """While inside, the site dies after so many words. Restart it then: until that it only pretends to live."""
    opened = site.driver._site
    assert opened is not None
    death = Death(opened.estate.documents, word)
    monkeypatch.setattr(opened.estate.documents, "put", death.put)
    monkeypatch.setattr(opened.estate.documents, "remove", death.remove)
    yield death
    if not death.happened:
        monkeypatch.undo()
