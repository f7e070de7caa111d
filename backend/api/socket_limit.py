"""How many live connections an address may hold and open, and how large their messages may be.

Anybody may open one: the sign-in page is a page as well.
"""

import time
from collections import Counter
from dataclasses import dataclass

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backend.api.client_address import client_address
from backend.log import get_logger
from backend.web_process import WebProcess

log = get_logger(__name__)

TRY_LATER = 1013
POLICY_VIOLATION = 1008
MESSAGE_TOO_LARGE = 1009
WINDOW_S = 60.0


@dataclass(frozen=True, kw_only=True)
class SocketLimits:
    """An address is an IPv6 /64, or an office behind one IPv4 address: many people with several tabs each.

    A page's messages have 1 to 6 KB; the query carries a tab's token and the protocol's version. `message_size`: in
    characters or bytes, as it comes.
    """

    at_once: int = 2_000
    an_address: int = 100
    opened_a_minute: int = 600
    query_bytes: int = 512
    message_size: int = 64 * 1024


class SocketLimit:
    """ASGI middleware around the pages' event socket."""

    def __init__(self, app: ASGIApp, process: WebProcess, limits: SocketLimits | None = None) -> None:
        self.app = app
        self._process = process
        self._limits = limits or SocketLimits()
        self._open: Counter[str] = Counter()
        self._opened: Counter[str] = Counter()
        self._said: set[str] = set()
        self._window_ends_at_s = 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a socket in, or refuse it before its handshake is answered."""
        if scope["type"] != "websocket":
            await self.app(scope, receive, send)
            return
        address = client_address(HTTPConnection(scope), self._process.studio.settings.trusted_proxies)
        if (code := self._refusal(scope, address)) is not None:
            await receive()
            await send({"type": "websocket.close", "code": code})
            return
        self._open[address] += 1
        try:
            await self.app(scope, self._bounded(receive, send), send)
        finally:
            self._open[address] -= 1
            if not self._open[address]:
                del self._open[address]

    def _refusal(self, scope: Scope, address: str) -> int | None:
        """The code to close with, or None."""
        now_s = time.monotonic()
        if now_s >= self._window_ends_at_s:
            self._opened.clear()
            self._said.clear()
            self._window_ends_at_s = now_s + WINDOW_S
        self._opened[address] += 1
        limits = self._limits
        if len(scope["query_string"]) > limits.query_bytes:
            return POLICY_VIOLATION
        for limit, reached in (
            ("at_once", self._open.total() >= limits.at_once),
            ("an_address", self._open[address] >= limits.an_address),
            ("opened_a_minute", self._opened[address] > limits.opened_a_minute),
        ):
            if reached:
                if limit not in self._said:
                    self._said.add(limit)
                    log.warning("socket.refused", limit=limit)
                return TRY_LATER
        return None

    def _bounded(self, receive: Receive, send: Send) -> Receive:
        async def bounded() -> Message:
            message = await receive()
            if message["type"] != "websocket.receive":
                return message
            if len(message.get("text") or "") + len(message.get("bytes") or b"") <= self._limits.message_size:
                return message
            log.warning("socket.message_too_large")
            await send({"type": "websocket.close", "code": MESSAGE_TOO_LARGE})
            return {"type": "websocket.disconnect", "code": MESSAGE_TOO_LARGE}

        return bounded
