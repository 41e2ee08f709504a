"""Where log lines go and how they look; what libraries log is stripped of whatever input it may quote."""

from __future__ import annotations

import logging
import sys
from typing import Any, Final

import msgspec
import structlog

from gateway.config import LoggingSettings

_LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40}


def configure_logs(settings: LoggingSettings) -> None:
    """Send our log lines, and those of libraries, to standard error in the configured form."""
    level = _LEVELS[settings.level]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *_render(settings),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=_make_factory(settings),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_WithoutInput("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=max(level, logging.WARNING), handlers=[handler], force=True)


def _render(settings: LoggingSettings) -> list[structlog.typing.Processor]:
    if settings.format == "json":
        return [structlog.processors.JSONRenderer(serializer=_dump_json)]
    return [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]


def _make_factory(settings: LoggingSettings) -> structlog.typing.WrappedLogger:
    if settings.format == "json":
        return structlog.BytesLoggerFactory(sys.stderr.buffer)
    return structlog.WriteLoggerFactory(sys.stderr)


def _dump_json(event: structlog.typing.EventDict, **_: Any) -> bytes:
    return msgspec.json.encode(event, enc_hook=repr)


class _WithoutInput(logging.Formatter):
    """Names an exception and keeps its text to itself: aiohttp's quote the bytes that did not parse."""

    def formatException(self, ei: Any) -> str:  # noqa: N802  the name is logging's
        kind = ei[0]
        return f"({kind.__name__})" if kind is not None else ""
