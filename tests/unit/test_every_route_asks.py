"""Who may call each route: one table. A new route is red here until somebody decided about it."""

from collections.abc import Iterator

import pytest
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from backend.api.app import create_app
from backend.api.dependencies import asker
from backend.auth.principal import Scope

READ, WRITE = Scope.VIDEOS_READ, Scope.VIDEOS_WRITE
SIGNED_IN = "anybody who is signed in"
# A scope; that somebody is signed in; or in words what stands in for knowing who asks.
DECIDED: dict[str, Scope | str] = {
    "POST /v1/videos": WRITE,
    "GET /v1/videos": READ,
    "GET /v1/videos/{video_id}": READ,
    "DELETE /v1/videos/{video_id}": WRITE,
    "POST /v1/videos/{video_id}/cancel": WRITE,
    "GET /v1/videos/{video_id}/content": READ,
    "GET /v1/videos/{video_id}/events": READ,
    "GET /v1/videos/{video_id}/attempts": READ,
    "GET /v1/videos/{video_id}/receipt": READ,
    "POST /v1/videos/quote": WRITE,
    "GET /v1/models": READ,
    "GET /v1/models/{model_id}": READ,
    "POST /uploads": WRITE,
    "GET /uploads/{upload_id}": READ,
    "GET /media/{video_id}/preview": READ,
    "GET /media/{video_id}/{kind}": READ,
    "GET /evidence/{case_id}/{name}": SIGNED_IN,
    "POST /auth/password": SIGNED_IN,
    "POST /auth/sign-in": "the password",
    "POST /auth/sign-up": "the operator's choice, an invitation",
    "POST /auth/confirm": "the letter's token",
    "POST /auth/reset-request": "nothing is told",
    "POST /auth/reset": "the letter's token",
    "POST /auth/sign-out": "the cookie that it ends",
    "GET /auth/link/{token}": "the link's token",
    "POST /auth/link/{token}": "the link's token",
    "POST /billing/webhooks/{provider}": "the provider's signature",
    "GET /objects/{key:path}": "the signature",
    "PUT /objects/{key:path}": "the signature",
    "GET /healthz": "tells nothing",
    "GET /docs/api": "the same for everybody",
    "GET /readyz": "tells only which part is away",
    "GET /metrics": "loopback, or the operator's token",
}
NOTHING_THERE = ("/v1", "/v1/{path:path}", "/auth/{path:path}")


def routes() -> dict[str, APIRoute]:
    """The routes of every router that the app includes. HEAD is a GET whose body is left out."""
    found: dict[str, APIRoute] = {}
    for included in create_app().routes:
        inner = getattr(getattr(included, "original_router", None), "routes", [included])
        for route in inner:
            if isinstance(route, APIRoute) and route.path not in NOTHING_THERE:
                found |= dict.fromkeys(
                    (f"{method} {route.path}" for method in route.methods - {"HEAD"}), route
                )
    return found


def calls(dependant: Dependant) -> Iterator[object]:
    yield dependant.call
    for inner in dependant.dependencies:
        yield from calls(inner)


def asks_for(route: APIRoute) -> set[object]:
    """The scopes that its dependencies ask for, or that anybody must be signed in."""
    found: set[object] = set()
    for call in calls(route.dependant):
        if call is asker:
            found.add(SIGNED_IN)
        if getattr(call, "__qualname__", "").startswith("asker_with"):
            found |= {cell.cell_contents for cell in getattr(call, "__closure__", ())}
    return found


def test_somebody_decided_about_each_route() -> None:
    assert routes().keys() == DECIDED.keys()


@pytest.mark.parametrize(("name", "decided"), DECIDED.items(), ids=DECIDED)
def test_each_route_asks_for_what_was_decided(name: str, decided: Scope | str) -> None:
    asked = asks_for(routes()[name])
    assert asked == ({decided} if isinstance(decided, Scope) or decided == SIGNED_IN else set())
