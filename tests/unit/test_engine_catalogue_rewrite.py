"""The catalogue is made shorter, and the disk fails in the middle: what is appended afterwards is not lost."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from secondsite.agent.lab.engine.replica import catalogue
from secondsite.agent.lab.engine.replica.catalogue import Catalogue, Cloned


def failing(_path: Path) -> None:
    raise OSError(5, "the disk refuses")


@pytest.fixture
def log(tmp_path: Path) -> Catalogue:
    log = Catalogue(tmp_path / "catalog.log")
    for number in range(3):
        log.append(Cloned(clone=f"clone-{number}", point="p"))
    return log


def test_nothing_is_promised_under_a_name_that_may_be_another_files(
    tmp_path: Path, log: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(catalogue, "sync_directory", failing)
        with pytest.raises(OSError, match="refuses"):
            log.rewrite([Cloned(clone="clone-2", point="p")])
        with pytest.raises(OSError, match="refuses"):
            log.append(Cloned(clone="refused", point="p"))
    log.append(Cloned(clone="later", point="p"))
    log.close()
    assert Catalogue(tmp_path / "catalog.log").events == [
        Cloned(clone="clone-2", point="p"),
        Cloned(clone="later", point="p"),
    ]


def test_a_rewrite_that_did_not_happen_leaves_the_long_one(
    tmp_path: Path, log: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_self: Path, _target: Path) -> Callable[[], None]:
        raise OSError(5, "the disk refuses")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", refuse)
        with pytest.raises(OSError, match="refuses"):
            log.rewrite([])
    log.append(Cloned(clone="later", point="p"))
    log.close()
    names = [event.clone for event in Catalogue(tmp_path / "catalog.log").events if isinstance(event, Cloned)]
    assert names == ["clone-0", "clone-1", "clone-2", "later"]


def test_the_rest_of_a_line_that_could_not_be_cut_away_does_not_end_up_behind_the_next(
    tmp_path: Path, log: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(5, "the disk refuses")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fdatasync", refuse)
        patched.setattr(os, "ftruncate", refuse)
        with pytest.raises(OSError, match="refuses"):
            log.append(Cloned(clone="long" * 30, point="p"))
        # Nor does one that comes while the rest is still there.
        with pytest.raises(OSError, match="refuses"):
            log.append(Cloned(clone="refused", point="p"))
    log.append(Cloned(clone="later", point="p"))
    log.close()
    names = [event.clone for event in Catalogue(tmp_path / "catalog.log").events if isinstance(event, Cloned)]
    assert names == ["clone-0", "clone-1", "clone-2", "later"]
