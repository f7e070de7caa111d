"""Every refusal in one shape: OpenAI's error body, with the headers that its client retries by."""

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from math import ceil

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from redis.exceptions import RedisError
from starlette.exceptions import HTTPException

from backend.db.away import is_away, is_full
from backend.domain.clean_text import shown
from backend.domain.errors import InvalidField, ModerationBlocked, Unavailable, ZoetropeError
from backend.log import get_logger
from backend.storage import StorageUnavailable

log = get_logger(__name__)

AWAY = (RedisError, StorageUnavailable, ConnectionError)
"""What a part of the studio being away looks like, beside the database. Nothing was lost: trying again is right."""

_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "insufficient_quota",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    429: "rate_limit_error",
}
_CODES = {
    404: ("not_found", "There is nothing at this address."),
    405: ("method_not_allowed", "This address does not take that method."),
    413: ("too_large", "The body is larger than allowed."),
    415: ("unsupported_media_type", "The body is of a type that this address does not take."),
}
_WRONG = {
    "missing": "must be given",
    "int_parsing": "must be a whole number",
    "float_parsing": "must be a number",
    "bool_parsing": "must be true or false",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "literal_error": "must be {expected}",
    "enum": "must be {expected}",
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters",
    "extra_forbidden": "is not known here",
}
"""What pydantic calls wrong, in the words of all other refusals."""
_RETRY_WHEN_AWAY = timedelta(seconds=2)


def error_body(
    message: str,
    *,
    status: int,
    code: str,
    param: str | None = None,
    clause: str | None = None,
    also: Sequence[ZoetropeError] = (),
) -> dict[str, object]:
    """The JSON of a refusal. Half a surrogate pair that somebody sent is spelt out: it can't be written as UTF-8."""
    error: dict[str, object] = {
        "message": message.encode(errors="backslashreplace").decode(),
        "type": _TYPES.get(status, "invalid_request_error" if status < 500 else "server_error"),
        "code": code,
        "param": None if param is None else shown(param),
    }
    if clause is not None:
        error["clause"] = clause
    if also:
        error["also"] = [{"message": other.message, "param": other.param} for other in also]
    return {"error": error}


def error_response(error: ZoetropeError) -> JSONResponse:
    """A refusal as an answer."""
    headers = {"x-should-retry": "true" if error.should_retry else "false", "cache-control": "no-store"}
    if error.retry_after is not None:
        headers["retry-after"] = str(max(1, ceil(error.retry_after.total_seconds())))
    if error.http_status == 401:
        headers["www-authenticate"] = "Bearer"
    return JSONResponse(
        error_body(
            error.message,
            status=error.http_status,
            code=error.code,
            param=error.param,
            clause=error.clause if isinstance(error, ModerationBlocked) else None,
            also=error.also if isinstance(error, InvalidField) else (),
        ),
        status_code=error.http_status,
        headers=headers,
    )


def unexpected_response(error: Exception) -> JSONResponse:
    """An answer to what nobody foresaw: a part that is away, or a defect.

    Neither tells the client our insides.
    """
    if is_full(error):
        log.error("request.disk_full", error=type(error).__name__)
        return error_response(
            Unavailable(
                "A disk of this studio is full: whoever runs it has to free some.",
                retry_after=_RETRY_WHEN_AWAY,
            )
        )
    if isinstance(error, AWAY) or is_away(error):
        log.warning("request.part_away", error=type(error).__name__)
        return error_response(Unavailable(retry_after=_RETRY_WHEN_AWAY))
    log.error("request.failed", exc_info=error)
    return error_response(
        ZoetropeError("Something went wrong here. The log says what, under the x-request-id.")
    )


def install_error_handlers(app: FastAPI) -> None:
    """Render domain errors, validation errors and HTTP errors alike."""
    app.add_exception_handler(ZoetropeError, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)


async def _refused(_request: Request, error: Exception) -> Response:
    assert isinstance(error, ZoetropeError)
    return error_response(error)


async def _invalid(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    problems: Sequence[Mapping[str, object]] = error.errors()
    first = problems[0]
    where = first.get("loc", ())
    places = [str(part) for part in where if isinstance(part, str)] if isinstance(where, tuple | list) else []
    param = ".".join(places[1:]) or None
    message = str(first.get("msg", "")).removeprefix("Value error, ")
    context = first.get("ctx")
    if param and (words := _WRONG.get(str(first.get("type")))):
        message = f"{param} {words.format_map(context if isinstance(context, dict) else {})}."
    elif param:
        message = f"{param}: {message}"
    return JSONResponse(
        error_body(message, status=400, code="invalid_value", param=param),
        status_code=400,
        headers={"x-should-retry": "false"},
    )


async def _http(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code, message = _CODES.get(error.status_code, ("invalid_request", str(error.detail)))
    if not re.fullmatch(r"[A-Z][A-Za-z -]+", str(error.detail)):  # ours says more than the status' own phrase
        message = str(error.detail)
    return JSONResponse(
        error_body(message, status=error.status_code, code=code),
        status_code=error.status_code,
        headers={"x-should-retry": "true" if error.status_code >= 500 else "false", **(error.headers or {})},
    )
