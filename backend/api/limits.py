"""Coarse limits: how many requests an address or a key may send."""

import asyncio
import hashlib
from datetime import timedelta

from fastapi import Request
from slowapi import Limiter
from slowapi.errors import RateLimitExceeded

from backend.api.client_address import client_address, is_loopback
from backend.api.dependencies import studio_of
from backend.auth.tokens import SESSION_COOKIE
from backend.domain.errors import RateLimited
from backend.settings import Settings

AN_ADDRESS = "3000/minute"
A_KEY = "6000/minute"


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
