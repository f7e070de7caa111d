"""Structured logs: event names with keys, JSON in files and readable lines on a terminal.

Keys in use: job_id, attempt, worker_id, account_id, user_id, trace_id, model, state, duration_s, part.
Secrets are never written; what people wrote (prompts, titles, addresses) only at debug.
"""

import logging
import logging.config
import re
import sys
import traceback
from collections.abc import MutableMapping
from typing import Any, TextIO

import structlog

from backend.log_allowance import LogAllowance
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

# They say whole events and values, in words of their own: only where they spoke is kept of what they say.
TALKATIVE = ("reflex", "engineio", "socketio")

_SIGNED_QUERY = re.compile(r"(https?://[^\s?\"']+)\?[^\s\"']+")
_API_KEY = re.compile(r"\b(sk-[A-Za-z0-9_-]{4})[A-Za-z0-9_-]{8,}")
_URL_PASSWORD = re.compile(r"(\w+://[^\s:/@]*):[^\s/@]+@")
_EMAIL = re.compile(r"[\w.+-]+@[\w-]+(\.[\w-]+)+")
# What a database or a parser quotes of the values that it was given.
_DETAIL = re.compile(
    r"(?<=DETAIL:)[ ].*?(?=\nHINT:|\n\[SQL|\n\nThe above exception|\n\nDuring handling|\Z)", re.DOTALL
)
_QUOTED = (
    re.compile(r"(?<=invalid input for query argument )\$\d+: .*"),
    re.compile(r"(?<=asyncpg)(?P<said>[^\n]*?: )\".*\""),
    re.compile(r"(?<=input_value=).*?(?=, input_type=)", re.DOTALL),
)

EventDict = MutableMapping[str, Any]


def drop_secrets(_logger: object, method: str, event: EventDict) -> EventDict:
    """Takes secrets out of every line, and people's words out of every line above debug."""
    for key, value in event.items():
        name = key.lower()
        if name in SECRET_KEYS or (method != "debug" and name in PERSONAL_KEYS):
            event[key] = DROPPED
        elif isinstance(value, str):
            event[key] = _scrub(value) if method == "debug" else _without_words(_scrub(value))
    return event


def _scrub(text: str) -> str:
    text = _SIGNED_QUERY.sub(r"\1?" + DROPPED, text)
    text = _API_KEY.sub(r"\1" + DROPPED, text)
    return _URL_PASSWORD.sub(r"\1:" + DROPPED + "@", text)


def _without_words(text: str) -> str:
    """Takes out what messages of errors quote of people: addresses, and values in a database's or a parser's words."""
    text = _EMAIL.sub(DROPPED, text)
    text = _DETAIL.sub(" " + DROPPED, text)
    for quoted in _QUOTED:
        text = quoted.sub(lambda found: (found.groupdict().get("said") or "") + DROPPED, text)
    return text


def keep_the_place_alone(_logger: object, method: str, event: EventDict) -> EventDict:
    """Of what a talkative library says above debug, keeps where it said it, and which errors went through where."""
    record = event.get("_record")
    if not isinstance(record, logging.LogRecord) or method == "debug":
        return event
    if not _is_talkative(record):
        return event
    event["event"] = "library.said"
    event["where"] = f"{record.module}.{record.funcName}:{record.lineno}"
    if record.exc_info and record.exc_info[1] is not None:
        event["exception"] = "\n".join(_frames(record.exc_info[1]))
    event.pop("exc_info", None)
    record.exc_info = record.exc_text = None
    return event


class SpareOfLibraries(logging.Filter):
    """So many lines a minute of talkative libraries, above debug: anybody on a socket can have them say more."""

    def __init__(self, *, most: int = 30) -> None:
        super().__init__()
        self._allowance = LogAllowance(most=most)

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether this line is written."""
        return record.levelno <= logging.DEBUG or not _is_talkative(record) or self._allowance.take()


def _is_talkative(record: logging.LogRecord) -> bool:
    return record.name.partition(".")[0].partition("_")[0] in TALKATIVE


def _frames(error: BaseException) -> list[str]:
    inner = error.__cause__ or error.__context__
    lines = _frames(inner) if inner is not None else []
    lines += [
        f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(error.__traceback__)
    ]
    return [*lines, type(error).__name__]


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
    renderer: structlog.types.Processor = (
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
        if out.isatty()
        else structlog.processors.JSONRenderer()
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[keep_the_place_alone, *shared],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            # Written out here, plain, and then looked through: a traceback quotes what it was given.
            structlog.processors.format_exc_info,
            drop_secrets,
            renderer,
        ],
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(formatter)
    handler.addFilter(SpareOfLibraries())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    for own_way in ("engineio.server", "socketio.server"):
        # They print their errors to stderr on their own, past the form and the rules of this module.
        logging.getLogger(own_way).handlers.clear()
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
