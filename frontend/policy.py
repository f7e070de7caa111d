"""The content security policy of the built pages: nothing runs that isn't ours, nothing is asked of anybody else.

The few scripts and styles inside the pages are Reflex' own; each is let in by its hash, taken from the built files.
"""

import base64
import hashlib
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MediaOrigin = Callable[[], Awaitable[str]]

_INSIDE = re.compile(r"<(?P<tag>script|style)(?P<attributes>[^>]*)>(?P<text>.*?)</(?P=tag)>", re.DOTALL)
_HOST = re.compile(r"[A-Za-z0-9.-]+(:\d+)?|\[[0-9A-Fa-f:.]+\](:\d+)?")


async def our_own_origin() -> str:
    """Where clips are, when it is where the pages are."""
    return ""


def page_policy(app: ASGIApp, client: Path, media_origin: MediaOrigin = our_own_origin) -> ASGIApp:
    """Wrap the app that serves the built pages in `client`: each goes out with its policy.

    `media_origin` is asked for the origin that clips and pictures come from, or "" for our own.
    """
    hashes = _Kept(client)

    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return

        async def send_with_policy(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                if headers.get("content-type", "").startswith("text/html"):
                    host = Headers(scope=scope).get("host", "")
                    headers.setdefault(
                        "content-security-policy", policy(hashes.now(), host, await media_origin())
                    )
            await send(message)

        await app(scope, receive, send_with_policy)

    return wrapped


@dataclass(frozen=True, kw_only=True)
class Hashes:
    """Of each script and each style inside the built pages, as a policy names them."""

    scripts: tuple[str, ...] = ()
    styles: tuple[str, ...] = ()


def policy(inside: Hashes, host: str, media_origin: str = "") -> str:
    """The header of a page that was asked for at `host`."""
    media = f" {media_origin}" if media_origin else ""
    # Some browsers take 'self' for http alone.
    sockets = f" ws://{host} wss://{host}" if _HOST.fullmatch(host) else ""
    return "; ".join(
        (
            "default-src 'none'",
            " ".join(("script-src 'self'", *inside.scripts)),
            # Shapes and positions of tiles are attributes.
            "style-src 'self' 'unsafe-inline'",
            " ".join(("style-src-elem 'self'", *inside.styles)),
            "style-src-attr 'unsafe-inline'",
            "font-src 'self'",
            f"img-src 'self' data: blob:{media}",
            f"media-src 'self' blob:{media}",
            f"connect-src 'self'{sockets}{media}",
            "manifest-src 'self'",
            "base-uri 'self'",
            "form-action 'self'",
            "frame-ancestors 'none'",
        )
    )


def hashes_of(client: Path) -> Hashes:
    """What is inside the built pages of a client."""
    found: dict[str, set[str]] = {"script": set(), "style": set()}
    for page in client.rglob("*.html"):
        for inside in _INSIDE.finditer(page.read_text(encoding="utf-8")):
            if "src=" not in inside["attributes"]:
                digest = hashlib.sha256(inside["text"].encode()).digest()
                found[inside["tag"]].add(f"'sha256-{base64.b64encode(digest).decode()}'")
    return Hashes(scripts=tuple(sorted(found["script"])), styles=tuple(sorted(found["style"])))


class _Kept:
    """Hashes, read again when the client was built anew."""

    def __init__(self, client: Path) -> None:
        self._client = client
        self._built_at = -1
        self._found = Hashes()

    def now(self) -> Hashes:
        index = self._client / "index.html"
        built_at = index.stat().st_mtime_ns if index.exists() else 0
        if built_at != self._built_at:
            self._found, self._built_at = hashes_of(self._client), built_at
        return self._found
