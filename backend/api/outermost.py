"""The outer edge of every request: its id, its log line and metrics, security headers, and what nobody caught."""

import re
import time

import structlog
from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backend import metrics
from backend.api.errors import error_response, unexpected_response
from backend.domain.errors import IncompleteBody
from backend.ids import IdPrefix, new_id, new_trace_id
from backend.log import get_logger

log = get_logger(__name__)

SECURITY_HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=(), payment=()",
    "cross-origin-opener-policy": "same-origin",
    # Of answers that are no pages; pages have one of their own (frontend/policy.py).
    "content-security-policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
}
HSTS = "max-age=31536000"
_TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")


class Outermost:
    """ASGI middleware around API and pages."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = new_id(IdPrefix.REQUEST)
        trace_id = _trace_id(scope)
        # A copy: a server may hand every request the same dictionary.
        scope["state"] = {**(scope.get("state") or {}), "trace_id": trace_id}
        begun = time.perf_counter()
        status = 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["x-request-id"] = request_id
                for name, value in SECURITY_HEADERS.items():
                    # What is kept in a browser takes over the headers of a 304: a page keeps its own policy.
                    if status != 304 or name != "content-security-policy":
                        headers.setdefault(name, value)
                if scope["scheme"] == "https":
                    headers.setdefault("strict-transport-security", HSTS)
            await send(message)

        with structlog.contextvars.bound_contextvars(trace_id=trace_id, request_id=request_id):
            try:
                await self.app(scope, receive, send_with_headers)
            except ClientDisconnect:
                log.debug("request.left")
                if status == 0:  # who has only stopped sending still reads
                    await error_response(IncompleteBody())(scope, receive, send_with_headers)
            except Exception as error:  # noqa: BLE001  # the outer edge: logged, then an answer
                response = unexpected_response(error)
                if status == 0:
                    await response(scope, receive, send_with_headers)
            finally:
                _count(scope, status, time.perf_counter() - begun)


def _trace_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"traceparent" and (match := _TRACEPARENT.fullmatch(value.decode("latin-1"))):
            return match[1]
    return new_trace_id()


def _count(scope: Scope, status: int, duration_s: float) -> None:
    # Only routes of ours are named: any other path would be an unbounded label.
    route = getattr(scope.get("route"), "path", "") or "other"
    method = scope["method"] if scope["method"] in {"GET", "HEAD", "POST", "PUT", "DELETE"} else "other"
    metrics.http_requests.labels(method, route, str(status)).inc()
    metrics.http_request_duration.labels(method, route).observe(duration_s)
