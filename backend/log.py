"""Structured logs: event names with keys, JSON in files and readable lines on a terminal.

Keys in use: job_id, attempt, worker_id, account_id, user_id, trace_id, model, state, duration_s, part.
Secrets are never written; what people wrote (prompts, titles, addresses) only at debug.
"""

import logging
import logging.config
import re
import sys
from collections.abc import MutableMapping
from typing import Any, TextIO

import structlog

from backend.settings import LogLevel

SECRET_KEYS = frozenset(
    [
        "password",
        "token",
        "secret",
        "api_key",
        "key_secret",
        "authorization",
        "cookie",
        "set_cookie",
        "signature",
        "signed_url",
        "put_url",
        "get_url",
        "session",
        "csrf",
        "database_url",
        "redis_url",
        "smtp_url",
    ]
)
PERSONAL_KEYS = frozenset(
    ["prompt", "negative_prompt", "title", "note", "style", "text", "body", "email", "ip", "user_agent"]
)
DROPPED = "[dropped]"

_SIGNED_QUERY = re.compile(r"(https?://[^\s?\"']+)\?[^\s\"']+")
_API_KEY = re.compile(r"\b(sk-[A-Za-z0-9_-]{4})[A-Za-z0-9_-]{8,}")
_URL_PASSWORD = re.compile(r"(\w+://[^\s:/@]*):[^\s/@]+@")

EventDict = MutableMapping[str, Any]


def drop_secrets(_logger: object, method: str, event: EventDict) -> EventDict:
    """Takes secrets out of every line, and people's words out of every line above debug."""
    for key, value in event.items():
        name = key.lower()
        if name in SECRET_KEYS or (method != "debug" and name in PERSONAL_KEYS):
            event[key] = DROPPED
        elif isinstance(value, str):
            event[key] = _scrub(value)
    return event


def _scrub(text: str) -> str:
    text = _SIGNED_QUERY.sub(r"\1?" + DROPPED, text)
    text = _API_KEY.sub(r"\1" + DROPPED, text)
    return _URL_PASSWORD.sub(r"\1:" + DROPPED + "@", text)


def configure_logging(part: str, level: LogLevel = LogLevel.INFO, stream: TextIO | None = None) -> None:
    """Sets up this process's logs, the standard library's included; `part` is put on every line."""
    out = sys.stdout if stream is None else stream

    def add_part(_logger: object, _method: str, event: EventDict) -> EventDict:
        event["part"] = part
        return event

    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        add_part,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    if out.isatty():
        rendering: list[structlog.types.Processor] = [
            # Plain: the rich one prints every local variable, keys and cookies too.
            structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
        ]
    else:
        rendering = [structlog.processors.format_exc_info, drop_secrets, structlog.processors.JSONRenderer()]
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, drop_secrets, *rendering],
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    for chatty in ("httpx", "httpcore", "botocore", "urllib3", "PIL", "asyncio", "watchfiles"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, root.level))
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """A logger for one module: `log.info("job.dispatched", job_id=..., attempt=..., worker_id=...)`."""
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger
