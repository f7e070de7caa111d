"""The web app's outermost edge, around Reflex's own: what that would answer by itself goes to the API, or gets an id.

Reflex answers a foreign page's preflight before the API sees it, in plain text, and its mounts match no path with a
line break.
"""

from collections.abc import Collection

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backend.api.errors import error_response
from backend.api.outermost import Outermost
from backend.domain.errors import NotAllowed
from backend.ids import IdPrefix, new_id

_METHODS = "GET, HEAD, POST, PUT, DELETE, OPTIONS"


def top_edge(app: ASGIApp, api: ASGIApp, own_origins: Collection[str]) -> ASGIApp:
    """Wrap the whole web app; `api` takes the addresses that the app's mounts can't.

    Pages of other origins than `own_origins` may ask for nothing.
    """
    refused, told = Outermost(_refuse), Outermost(_tell_methods)

    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                if "x-request-id" not in headers:
                    headers["x-request-id"] = new_id(IdPrefix.REQUEST)
            await send(message)

        taker = api if "\n" in scope["path"] else app
        if scope["method"] == "OPTIONS":
            if _is_foreign_preflight(Headers(scope=scope), own_origins):
                taker = refused
            elif not scope["path"].startswith("/"):
                taker = told
        await taker(scope, receive, send_with_id)

    return wrapped


def _is_foreign_preflight(headers: Headers, own_origins: Collection[str]) -> bool:
    asks = "access-control-request-method" in headers
    return asks and headers.get("origin", "") not in {"", *own_origins}


async def _refuse(scope: Scope, receive: Receive, send: Send) -> None:
    refusal = NotAllowed("This request came from another site.")
    await error_response(refusal)(scope, receive, send)


async def _tell_methods(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer `OPTIONS *`, which asks about the server and no address of it."""
    await Response(status_code=204, headers={"allow": _METHODS})(scope, receive, send)
