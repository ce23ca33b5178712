"""Logging of both programs: structlog in front, records of the standard library (kopf, aiohttp) in the same form."""

from __future__ import annotations

import logging
import sys
from typing import Literal, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

Format = Literal["json", "console"]
Level = Literal["debug", "info", "warning", "error"]

# Every request and every handshake at debug level would drown what the operator itself says.
_NOISY = ("aiohttp.access", "asyncio", "kopf.activities", "kubernetes", "urllib3")


def configure(level: Level = "info", form: Format = "json", stream: TextIO | None = None) -> None:
    """Send everything that is logged to `stream` (stderr by default), one line per record.

    `level` holds for structlog and for the standard library alike. Calling it again replaces the former set-up.
    """
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_shared(),
            structlog.processors.StackInfoRenderer(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.ExtraAdder(), _without_kopf_extras, *_shared()],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_rendering(form, handler.stream)],
        ),
    )
    logging.root.handlers[:] = [handler]
    logging.root.setLevel(level.upper())
    for name in _NOISY:
        logging.getLogger(name).setLevel(max(logging.INFO, logging.root.level))
    logging.captureWarnings(capture=True)


def get(name: str) -> structlog.stdlib.BoundLogger:
    """The logger of a module; fields are keyword arguments: `log.info("certificate renewed", site="chicago")`."""
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger


def _shared() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
    ]


def _rendering(form: Format, stream: TextIO) -> list[Processor]:
    if form == "console":
        # The default formatter prints local variables, and a private key may be one.
        plain = structlog.dev.plain_traceback
        return [structlog.dev.ConsoleRenderer(colors=stream.isatty(), exception_formatter=plain, timestamp_key="time")]
    return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(default=str)]


def _without_kopf_extras(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Without what kopf attaches to a record for itself: its settings and a whole object's reference."""
    for field in ("k8s_skip", "k8s_ref", "settings"):
        event.pop(field, None)
    return event
