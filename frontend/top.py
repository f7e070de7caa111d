"""The web app's outermost edge, around Reflex's own: what that would answer by itself goes to the API, or gets an id.

Reflex answers a foreign page's preflight before the API sees it, and its mounts match no path with a line break.
"""

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backend.ids import IdPrefix, new_id


def top_edge(app: ASGIApp, api: ASGIApp) -> ASGIApp:
    """Wrap the whole web app; `api` takes the addresses that the app's mounts can't."""

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
        await taker(scope, receive, send_with_id)

    return wrapped
