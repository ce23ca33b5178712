"""Both kinds of log records come out as one form; errors read as sentences."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import kopf
import pytest
import structlog

from secondsite import logs
from secondsite.errors import NotYet, SecondsiteError, SiteRefused


@pytest.fixture(autouse=True)
def _own_logging() -> Iterator[None]:
    handlers, level = logging.root.handlers[:], logging.root.level
    yield
    logging.captureWarnings(capture=False)
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)
    structlog.reset_defaults()


def test_records_of_both_kinds_are_lines_of_json() -> None:
    out = io.StringIO()
    logs.configure("info", "json", out)
    logs.get("secondsite.x").info("renewed", site="chicago")
    settings = kopf.OperatorSettings()
    # Another test of this process may have started kopf, whose own handler reads them.
    settings.posting.enabled = False
    logging.getLogger("kopf.objects").warning("watch %d", 3, extra={"settings": settings, "k8s_ref": {}})
    logs.get("secondsite.x").debug("hidden")
    mine, foreign = map(json.loads, out.getvalue().splitlines())
    assert (mine["event"], mine["site"], mine["level"]) == ("renewed", "chicago", "info")
    assert (foreign["event"], foreign["logger"], foreign["level"]) == ("watch 3", "kopf.objects", "warning")
    assert mine.keys() - {"site"} == foreign.keys() == {"event", "level", "logger", "time"}


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_traceback_shows_no_local_variables(form: logs.Format) -> None:
    out = io.StringIO()
    logs.configure("info", form, out)

    def fail() -> None:
        secret = "PRIVATE" + "KEY"
        raise RuntimeError(len(secret))

    try:
        fail()
    except RuntimeError:
        logs.get("x").exception("failed")
    assert "RuntimeError" in out.getvalue()
    assert "PRIVATEKEY" not in out.getvalue()


def test_configuring_again_replaces_the_former() -> None:
    first, second = io.StringIO(), io.StringIO()
    logs.configure("info", "json", first)
    logs.configure("error", "json", second)
    logs.get("x").info("hidden")
    logs.get("x").error("seen")
    assert first.getvalue() == ""
    assert [json.loads(line)["event"] for line in second.getvalue().splitlines()] == ["seen"]


def test_an_error_says_what_and_remedy() -> None:
    assert str(SecondsiteError("It failed.", "Repair it.")) == "It failed. Repair it."
    assert str(SecondsiteError("It failed")) == "It failed"
    assert SiteRefused("no", code="KeyReused").code == "KeyReused"
    assert NotYet("wait", delay=3).delay == 3
