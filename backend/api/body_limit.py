"""How large a request's body may be, by its address and kind, and how long it may take to arrive."""

import asyncio
import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backend.api.errors import error_body

KIB = 2**10
MIB = 2**20
DRAINED_BYTES = 64 * MIB
DRAIN_WITHIN_S = 5.0


@dataclass(frozen=True, kw_only=True)
class Allowance:
    """What one request may send, and how long it may pause. None: the route itself knows how much, or how long."""

    max_bytes: int | None
    within_s: float | None
    silence_s: float = 10.0


# The door parses its forms before anything asks who is there.
_DOOR = Allowance(max_bytes=16 * KIB, within_s=10.0)
_USUAL = Allowance(max_bytes=MIB, within_s=30.0)
# Read piece by piece into a file.
_FILES = Allowance(max_bytes=32 * MIB, within_s=300.0)
# Parsed whole: enough for a picture of 9 MB as a data: URL. Larger ones come as files.
_JSON = Allowance(max_bytes=12 * MIB, within_s=120.0)
# Fields alone: a picture comes as a file, or in JSON.
_FORM = Allowance(max_bytes=256 * KIB, within_s=30.0)
# Signed for a size of their own.
_OBJECTS = Allowance(max_bytes=None, within_s=None, silence_s=60.0)

_WITH_FILES = frozenset({"/v1/videos", "/uploads"})


def allowance(path: str, content_type: str) -> Allowance:
    """What a request to this address may send."""
    if path.startswith("/objects/"):
        return _OBJECTS
    if path.startswith("/auth/"):
        return _DOOR
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "application/x-www-form-urlencoded":
        return _FORM
    if path not in _WITH_FILES:
        return _USUAL
    return _FILES if kind == "multipart/form-data" else _JSON


class BodyLimit:
    """ASGI middleware: 413 for a body past its limit, announced or not; 408 for one that takes too long."""

    def __init__(self, app: ASGIApp, allowance_of: Callable[[str, str], Allowance] = allowance) -> None:
        self.app = app
        self._allowance_of = allowance_of

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, counting."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        allowed = self._allowance_of(scope["path"], headers.get(b"content-type", b"").decode("latin-1"))
        announced = headers.get(b"content-length", b"0")
        if not announced.isdigit() or _past(int(announced[:18]), allowed):
            await _drain(receive)
            await _too_large(send, allowed)
            return
        body = _Body(receive, send, allowed)
        try:
            await self.app(scope, body.receive, body.send)
        except _BodyTooLarge:
            await _drain(receive)
            await _too_large(send, allowed)
        except _BodyTooSlow:
            await _too_slow(send)


class _Body:
    """One request's body on its way in."""

    def __init__(self, receive: Receive, send: Send, allowed: Allowance) -> None:
        self._receive = receive
        self._send = send
        self._allowed = allowed
        self._ends_at = None if allowed.within_s is None else _now() + allowed.within_s
        self._seen = 0
        self._complete = False
        self._answered = asyncio.Event()

    async def receive(self) -> Message:
        """The next piece. Raises past the limit, or when it doesn't come in time."""
        if self._complete or self._answered.is_set():
            return await self._receive()
        wait_s = self._allowed.silence_s
        if self._ends_at is not None:
            wait_s = min(wait_s, self._ends_at - _now())
        try:
            async with asyncio.timeout(wait_s):
                message = await self._receive()
        except TimeoutError:
            if self._answered.is_set():  # whoever still listens waits for the connection's end
                return await self._receive()
            raise _BodyTooSlow from None
        if message["type"] == "http.request":
            self._seen += len(message.get("body", b""))
            self._complete = not message.get("more_body", False)
            if _past(self._seen, self._allowed):
                raise _BodyTooLarge
        return message

    async def send(self, message: Message) -> None:
        """Note that the answer has begun."""
        self._answered.set()
        await self._send(message)


class _BodyTooLarge(BaseException):
    """Past the application's own handlers, up to the middleware."""


class _BodyTooSlow(BaseException):
    """Past the application's own handlers, up to the middleware."""


def _now() -> float:
    return asyncio.get_running_loop().time()


def _past(size_bytes: int, allowed: Allowance) -> bool:
    return allowed.max_bytes is not None and size_bytes > allowed.max_bytes


async def _drain(receive: Receive) -> None:
    """Read on a while and keep nothing: who still sends when we hang up sees a broken connection, not our answer."""
    left = DRAINED_BYTES
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(DRAIN_WITHIN_S):
            while left > 0:
                message = await receive()
                if message["type"] != "http.request" or not message.get("more_body", False):
                    return
                left -= len(message.get("body", b""))


async def _too_large(send: Send, allowed: Allowance) -> None:
    most = allowed.max_bytes or 0
    size = f"{most // MIB} MiB" if most >= MIB else f"{most // KIB} KiB"
    await _refuse(send, 413, "too_large", f"A body of this kind may have {size} here at most.", retry=False)


async def _too_slow(send: Send) -> None:
    await _refuse(send, 408, "request_timeout", "The body took too long to arrive.", retry=True)


async def _refuse(send: Send, status: int, code: str, message: str, *, retry: bool) -> None:
    body = json.dumps(error_body(message, status=status, code=code)).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"x-should-retry", b"true" if retry else b"false"),
        (b"cache-control", b"no-store"),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
