"""One root, one class a cause. Services raise these; one handler renders them for the API, one for the browser."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta


class ZoetropeError(Exception):
    """The request can't be done. Its message says what was wrong and what would be right.

    `param` names the field at fault. `should_retry` tells a client whether the same request may succeed later;
    `retry_after` says when.
    """

    code = "internal_error"
    http_status = 500
    should_retry = False

    def __init__(
        self, message: str | None = None, *, param: str | None = None, retry_after: timedelta | None = None
    ) -> None:
        self.message = message or (self.__doc__ or "").strip()
        self.param = param
        self.retry_after = retry_after
        super().__init__(self.message)


class InvalidField(ZoetropeError):
    """A field has a value that is not allowed."""

    code = "invalid_value"
    http_status = 400
    also: tuple["InvalidField", ...] = ()
    """What else is wrong with the same request, in other fields."""


@contextmanager
def noting(wrong: list[InvalidField]) -> Iterator[None]:
    """Note what is found wrong with a field, and go on to the next."""
    try:
        yield
    except InvalidField as found:
        wrong.append(found)


def refuse_all(wrong: Sequence[InvalidField]) -> None:
    """Raise the first of these, with the others beside it; nothing where there is none."""
    if wrong:
        first, *others = wrong
        first.also = tuple(others)
        raise first


class IncompleteBody(ZoetropeError):
    """The request ends in the middle; send it again."""

    code = "incomplete_body"
    http_status = 400
    should_retry = True


class UnknownHost(ZoetropeError):
    """This studio does not go by that name."""

    code = "unknown_host"
    http_status = 400


class ModerationBlocked(ZoetropeError):
    """The prompt was stopped by the rules of this studio. Nothing was charged."""

    code = "moderation_blocked"
    http_status = 400

    def __init__(self, message: str | None = None, *, param: str | None = None, clause: str) -> None:
        super().__init__(message, param=param)
        self.clause = clause


class NotSignedIn(ZoetropeError):
    """No valid key or session. Send `Authorization: Bearer <key>`, or sign in."""

    code = "invalid_api_key"
    http_status = 401


class InsufficientCredits(ZoetropeError):
    """The account has too few credits for this clip."""

    code = "insufficient_credits"
    http_status = 402


class NotAllowed(ZoetropeError):
    """Your role or this key's scopes don't allow that."""

    code = "not_allowed"
    http_status = 403


class NotFound(ZoetropeError):
    """There is nothing with that id."""

    code = "not_found"
    http_status = 404


class Conflict(ZoetropeError):
    """Someone else was first; load the page again."""

    code = "conflict"
    http_status = 409


class TooLarge(ZoetropeError):
    """The file is larger than allowed."""

    code = "too_large"
    http_status = 413


class IdempotencyMismatch(ZoetropeError):
    """This Idempotency-Key was used with another request. Use a new key for a new request."""

    code = "idempotency_mismatch"
    http_status = 422


class RateLimited(ZoetropeError):
    """Too many requests. Wait as long as `retry-after` says."""

    code = "rate_limit_exceeded"
    http_status = 429
    should_retry = True


class QuotaExhausted(ZoetropeError):
    """The account's quota for today is used up."""

    code = "quota_exhausted"
    http_status = 429


class QueueLimitReached(ZoetropeError):
    """The account has as many jobs waiting as its tier allows. Wait for one to finish, or cancel one."""

    code = "queue_limit_reached"
    http_status = 429


class TierFull(ZoetropeError):
    """So many people of this tier wait that another clip could not start in time. Nothing was charged."""

    code = "studio_full"
    http_status = 429
    should_retry = True


class Unavailable(ZoetropeError):
    """A part of the studio is away. Nothing was lost; try again in a moment."""

    code = "unavailable"
    http_status = 503
    should_retry = True
