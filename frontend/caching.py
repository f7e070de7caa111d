"""Cache headers of the built client: hashed files for good, everything else asked for again each time."""

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_FOR_GOOD = "public, max-age=31536000, immutable"
_ASK_AGAIN = "no-cache"
_A_DAY = "public, max-age=86400"
_AN_HOUR = "public, max-age=3600"


def _policy(path: str, content_type: str) -> str:
    if path.startswith("/assets/"):
        return _FOR_GOOD
    if path.startswith("/fonts/"):
        return _A_DAY
    # Each new icon on a page asks for it anew: without a connection they would all be gone.
    if path == "/icons.svg":
        return _AN_HOUR
    if path.startswith("/js/") or path.endswith((".svg", ".css")) or content_type.startswith("text/html"):
        return _ASK_AGAIN
    return ""


def cache_built_files(app: ASGIApp) -> ASGIApp:
    """Wrap an ASGI app: answers that say nothing about caching get the client's policy."""

    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] not in ("GET", "HEAD"):
            await app(scope, receive, send)
            return

        async def send_with_policy(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] in (200, 206, 304):
                headers = MutableHeaders(scope=message)
                policy = _policy(scope["path"], headers.get("content-type", ""))
                if policy and "cache-control" not in headers:
                    headers["cache-control"] = policy
            await send(message)

        await app(scope, receive, send_with_policy)

    return wrapped
