"""Coarse limits: how many requests an address or a key may send, and how large a body may be."""

import asyncio
import hashlib
import json
from datetime import timedelta

from fastapi import Request
from slowapi import Limiter
from slowapi.errors import RateLimitExceeded
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backend.api.client_address import client_address, is_loopback
from backend.api.dependencies import studio_of
from backend.api.errors import error_body
from backend.auth.tokens import SESSION_COOKIE
from backend.domain.errors import RateLimited
from backend.settings import Settings

AN_ADDRESS = "3000/minute"
A_KEY = "6000/minute"
MAX_BODY_BYTES = 32 * 2**20
DRAINED_BYTES = 64 * 2**20
_UNLIMITED = ("/objects/",)


class CoarseLimits:
    """slowapi's counters in Valkey, or in this process while Valkey is away.

    They are synchronous: used in a thread.
    """

    def __init__(self, settings: Settings) -> None:
        self._by_address = _limiter(
            settings, AN_ADDRESS, "address", lambda request: str(request.state.limit_address)
        )
        self._by_key = _limiter(settings, A_KEY, "key", lambda request: str(request.state.limit_key))

    async def check(self, request: Request) -> None:
        """Count this request. Raises `RateLimited`."""
        try:
            await asyncio.to_thread(self._check, request)
        except RateLimitExceeded as error:
            window_s = error.limit.limit.get_expiry() if error.limit else 60
            raise RateLimited(
                f"Too many requests: {error.detail} are allowed.", retry_after=timedelta(seconds=window_s)
            ) from None

    def _check(self, request: Request) -> None:
        if request.state.limit_address:
            self._by_address._check_request_limit(request, None, True)
        if request.state.limit_key:
            self._by_key._check_request_limit(request, None, True)


def _limiter(settings: Settings, limit: str, prefix: str, key_of: object) -> Limiter:
    url = settings.require_redis_url()
    return Limiter(
        key_func=key_of,  # type: ignore[arg-type]  # slowapi wants a looser callable than it calls
        application_limits=[limit],
        storage_uri=f"redis+{url}" if url.startswith("unix:") else url,
        storage_options={"socket_timeout": 0.3, "socket_connect_timeout": 0.3},  # type: ignore[dict-item]  # seconds
        in_memory_fallback=[limit],
        in_memory_fallback_enabled=True,
        key_prefix=f"zoetrope:http:{prefix}",
        key_style="url",
        config_filename="/dev/null",
    )


async def coarse_limit(request: Request) -> None:
    """A dependency of every route that costs something. This machine itself is limited by key alone."""
    settings = studio_of(request).settings
    secret = request.headers.get("authorization") or request.cookies.get(SESSION_COOKIE)
    request.state.limit_key = hashlib.sha256(secret.encode()).hexdigest()[:32] if secret else ""
    request.state.limit_address = (
        "" if is_loopback(request) else client_address(request, settings.trusted_proxies)
    )
    limits = getattr(request.app.state, "coarse_limits", None)
    if limits is None:
        limits = request.app.state.coarse_limits = CoarseLimits(settings)
    await limits.check(request)


class BodyLimit:
    """ASGI middleware: a body past the limit is answered 413, whether announced or not."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, counting."""
        if scope["type"] != "http" or scope["path"].startswith(_UNLIMITED):
            await self.app(scope, receive, send)
            return
        announced = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        if not announced.isdigit() or int(announced) > MAX_BODY_BYTES:
            await _drain(receive)
            await _too_large(send)
            return
        seen = 0
        started = False

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            if message["type"] == "http.request":
                seen += len(message.get("body", b""))
                if seen > MAX_BODY_BYTES:
                    raise _BodyTooLarge
            return message

        async def noted(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self.app(scope, counted, noted)
        except _BodyTooLarge:
            if not started:
                await _drain(receive)
                await _too_large(send)


class _BodyTooLarge(BaseException):
    """Past the application's own handlers, up to the middleware."""


async def _drain(receive: Receive) -> None:
    """Read on a while and keep nothing: who still sends when we hang up sees a broken connection, not our answer."""
    left = DRAINED_BYTES
    while left > 0:
        message = await receive()
        if message["type"] != "http.request" or not message.get("more_body", False):
            return
        left -= len(message.get("body", b""))


async def _too_large(send: Send) -> None:
    message = f"A request's body may be {MAX_BODY_BYTES // 2**20} MiB at most."
    body = json.dumps(error_body(message, status=413, code="too_large")).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"x-should-retry", b"false"),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": 413, "headers": headers})
    await send({"type": "http.response.body", "body": body})
