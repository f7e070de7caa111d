"""The API as one FastAPI app: served alone, or with the pages mounted behind it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, HTTPException
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute, Match
from starlette.types import Receive, Scope, Send

from backend.api import (
    attempts,
    auth,
    billing,
    health,
    media,
    models,
    objects,
    quotes,
    receipts,
    reference,
    uploads,
    videos,
)
from backend.api.body_limit import BodyLimit
from backend.api.errors import install_error_handlers
from backend.api.known_hosts import KnownHosts
from backend.api.outermost import Outermost
from backend.api.socket_limit import SocketLimit
from backend.domain.errors import NotFound
from backend.web_process import WebProcess

_PARTS = (
    videos,
    quotes,
    receipts,
    attempts,
    models,
    uploads,
    media,
    auth,
    billing,
    objects,
    health,
    reference,
)


class _NothingThere(BaseRoute):
    """What no route of the API took: a JSON 404, never the web app's page, by whatever method and with any character.

    A path of FastAPI's own takes methods by name, and no line break.
    """

    path = "/v1/{path}"

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """All of the API's addresses."""
        if scope["type"] == "http" and f"{scope['path']}/".startswith(("/v1/", "/auth/")):
            return Match.FULL, {"route": self}
        return Match.NONE, {}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raises `NotFound`, or HTTPException for a method that the address does not take."""
        routes = (route for part in _PARTS for route in part.router.routes if isinstance(route, APIRoute))
        partly = [route for route in routes if route.matches(scope)[0] is Match.PARTIAL]
        if methods := {method for route in partly for method in route.methods or ()}:
            raise HTTPException(405, headers={"allow": ", ".join(sorted(methods))})
        raise NotFound("There is nothing at this address. The API is described at /docs/api.")


def create_app(process: WebProcess | None = None) -> FastAPI:
    """The app.

    Opens the studio at the first request, so it can be made where there is none (to build the client).

    Its lifespan closes the studio when it is served alone; a server that mounts it closes `process` itself.
    """
    shared = process or WebProcess()

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        await shared.close()

    app = FastAPI(
        title="Zoetrope",
        summary="Text to video on your own GPUs: `/v1/videos` as the openai client speaks it.",
        version="1",
        lifespan=lifespan,
        openapi_url="/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.process = shared
    for part in _PARTS:
        app.include_router(part.router)
    app.router.routes.append(_NothingThere())
    install_error_handlers(app)
    app.add_middleware(BodyLimit)
    app.add_middleware(SocketLimit, process=shared)
    app.add_middleware(KnownHosts, process=shared)
    app.add_middleware(Outermost)
    return app
