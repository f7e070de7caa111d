"""One address a page: `/gallery`, not `/gallery/`, though each built page lies in a folder of its own."""

from collections.abc import Iterable

from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send


def plain_addresses(app: ASGIApp, pages: Iterable[str]) -> ASGIApp:
    """Serve each page without a redirect, and send who asks with a slash at the end to the plain address."""
    built = {page for page in pages if page != "/" and "[" not in page}

    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] in ("GET", "HEAD"):
            path: str = scope["path"]
            if path in built:
                scope = {**scope, "path": path + "/", "raw_path": (path + "/").encode()}
            elif path.endswith("/") and path[:-1] in built:
                query = scope["query_string"].decode("latin-1")
                target = path[:-1] + (f"?{query}" if query else "")
                await RedirectResponse(target, status_code=308)(scope, receive, send)
                return
        await app(scope, receive, send)

    return wrapped
