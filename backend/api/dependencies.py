"""What routes ask for: the studio, and who is asking. Every route that isn't for everybody asks here."""

from collections.abc import Awaitable, Callable
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, Request
from starlette.requests import HTTPConnection

from backend.api.client_address import client_address
from backend.auth.principal import Principal, Scope
from backend.auth.tokens import SESSION_COOKIE
from backend.domain.errors import NotAllowed, NotSignedIn
from backend.services.identify import identify_key, identify_session
from backend.studio import Studio
from backend.web_process import WebProcess

WRITE_HEADER = "x-zoetrope"
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


def process_of(connection: HTTPConnection) -> WebProcess:
    """What this web process shares."""
    process = connection.app.state.process
    assert isinstance(process, WebProcess)
    return process


def studio_of(connection: HTTPConnection) -> Studio:
    """The studio that this app was made with."""
    return process_of(connection).studio


def address_of(connection: HTTPConnection) -> str:
    """The network address of whoever asks."""
    return client_address(connection, studio_of(connection).settings.trusted_proxies)


async def asker(request: Request) -> Principal:
    """Who asks: by API key if one is sent, else by session.

    Raises `NotSignedIn`, `NotAllowed` (foreign page).
    """
    authorization = request.headers.get("authorization")
    if authorization is not None:
        scheme, _, key = authorization.partition(" ")
        if scheme.lower() != "bearer" or not key.strip():
            raise NotSignedIn("Send the key as `Authorization: Bearer <key>`.")
        process = process_of(request)
        return await process.keys.get(key.strip(), lambda sent: identify_key(process.studio, sent))
    principal = await identify_session(studio_of(request), request.cookies.get(SESSION_COOKIE))
    if principal is None:
        raise NotSignedIn
    if request.method not in _SAFE:
        require_own_page(request, header=True)
    return principal


def require_own_page(request: Request, *, header: bool) -> None:
    """A write that a browser's cookie authorises comes from our own pages. Raises `NotAllowed`.

    `header`: it must also carry `X-Zoetrope`, which a foreign page can't send without asking first.
    """
    if header and WRITE_HEADER not in request.headers:
        raise NotAllowed(
            "Requests of a signed-in browser carry the header X-Zoetrope: 1. Programs use an API key."
        )
    site = request.headers.get("sec-fetch-site")
    if site is not None and site not in {"same-origin", "none"}:
        raise NotAllowed("This request came from another site.")
    origin = request.headers.get("origin")
    if origin is not None:
        own = {request.headers.get("host", ""), urlsplit(studio_of(request).settings.public_url).netloc}
        if urlsplit(origin).netloc not in own - {""}:
            raise NotAllowed("This request came from another site.")


def asker_with(scope: Scope) -> Callable[[Request], Awaitable[Principal]]:
    """A dependency: who asks, with that scope."""

    async def scoped(request: Request) -> Principal:
        principal = await asker(request)
        principal.require(scope)
        return principal

    return scoped


StudioDep = Annotated[Studio, Depends(studio_of)]
Reader = Annotated[Principal, Depends(asker_with(Scope.VIDEOS_READ))]
Writer = Annotated[Principal, Depends(asker_with(Scope.VIDEOS_WRITE))]
SignedIn = Annotated[Principal, Depends(asker)]
