"""Only requests for a name that this studio goes by are answered.

A page of another site can make its own name point here (DNS rebinding), and would then be same-origin with us.
"""

import ipaddress
import re
import time
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from backend.api.client_address import is_trusted_peer
from backend.api.errors import error_response
from backend.domain.errors import UnknownHost
from backend.log import get_logger
from backend.settings import Settings
from backend.web_process import WebProcess

log = get_logger(__name__)

WILDCARDS = frozenset({"", "0.0.0.0", "::"})
_HOST = re.compile(r"(?:\[(?P<number>[^\[\]\s]+)\]|(?P<name>[^\[\]\s:@/?#]+))(?::\d{1,5})?")
SAY_AGAIN_AFTER_S = 60.0
_MAX_SAID_CHARS = 100


class KnownHosts:
    """ASGI middleware around API and pages: 400 for a `Host` that isn't ours, and no socket."""

    def __init__(self, app: ASGIApp, process: WebProcess) -> None:
        self.app = app
        self._process = process
        self._said_at = -SAY_AGAIN_AFTER_S

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] not in {"http", "websocket"}:
            await self.app(scope, receive, send)
            return
        settings = self._process.studio.settings
        host = asked_host(HTTPConnection(scope), settings)
        if host is None or is_known(host, settings):
            await self.app(scope, receive, send)
            return
        self._say(host)
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        refusal = UnknownHost(
            f"This studio does not go by the name {host[:_MAX_SAID_CHARS]!r}: open it at {settings.public_url}. Whoever"
            " runs it sets the address in ZOETROPE_PUBLIC_URL, and further names in ZOETROPE_ALLOWED_HOSTS."
        )
        await error_response(refusal)(scope, receive, send)

    def _say(self, host: str) -> None:
        now = time.monotonic()
        if now - self._said_at >= SAY_AGAIN_AFTER_S:
            self._said_at = now
            log.warning("host.unknown", host=host[:_MAX_SAID_CHARS])


def asked_host(connection: HTTPConnection, settings: Settings) -> str | None:
    """The name that was asked for, without its port; None where none was said, as no browser does.

    The server hands over an empty one for a request of HTTP/1.0 without any.

    A trusted proxy says what it was asked for in `X-Forwarded-Host`; from anybody else that means nothing.
    """
    headers: Headers = connection.headers
    said = headers.get("host")
    if "x-forwarded-host" in headers and is_trusted_peer(connection, settings.trusted_proxies):
        said = headers.getlist("x-forwarded-host")[-1].rpartition(",")[2]
    if not said or not said.strip():
        return None
    found = _HOST.fullmatch(said.strip())
    return (found["number"] or found["name"]) if found else said


def is_known(host: str, settings: Settings) -> bool:
    """Whether the studio goes by that name: its public address, loopback, where it listens, or one that was allowed."""
    name = host.lower().removesuffix(".")
    address = _address(name)
    if address is not None and (address.is_loopback or settings.host in WILDCARDS):
        # By its number: a name of somebody else's can't be behind it.
        return True
    known = {
        "localhost",
        settings.host.lower(),
        *(urlsplit(url).hostname or "" for url in (settings.public_url, settings.control_url)),
        *settings.allowed_hosts,
    }
    return name in known - WILDCARDS


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None
