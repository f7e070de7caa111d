"""Notices a proxy that nobody named: behind one, everybody would share its address, and one's guesses lock out all."""

import ipaddress
import time

from redis.exceptions import RedisError
from starlette.requests import Request

from backend.api.client_address import is_trusted_peer
from backend.api.dependencies import studio_of
from backend.log import get_logger
from backend.untrusted_proxy import remember_proxy

log = get_logger(__name__)

SAY_AGAIN_AFTER_S = 60.0


async def note_untrusted_proxy(request: Request) -> None:
    """A dependency of routes that count by address."""
    studio = studio_of(request)
    if "x-forwarded-for" not in request.headers or is_trusted_peer(request, studio.settings.trusted_proxies):
        return
    now = time.monotonic()
    if now - getattr(request.app.state, "proxy_said_at", -SAY_AGAIN_AFTER_S) < SAY_AGAIN_AFTER_S:
        return
    request.app.state.proxy_said_at = now
    proxy = _nameable(request.client.host if request.client else "")
    log.warning("proxy.not_trusted", proxy=proxy, remedy="name it in ZOETROPE_TRUSTED_PROXIES")
    try:
        await remember_proxy(studio.wakeups.redis, proxy)
    except (RedisError, OSError) as error:
        log.debug("proxy.not_remembered", error=type(error).__name__)


def _nameable(address: str) -> str:
    """The address of a machine near by. A public one may be a person's, who made the header up."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return "an unnamed address"
    return str(parsed) if parsed.is_private or parsed.is_loopback else "a public address"
