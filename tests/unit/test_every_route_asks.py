"""No route forgets to ask who is there: each has a principal, or is named here with what stands in for one."""

from collections.abc import Iterator

import pytest
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from backend.api import auth, billing, health, media, models, objects, receipts, reference, uploads, videos
from backend.api.dependencies import asker

OPEN = {
    "/auth/sign-in": "the password",
    "/auth/sign-up": "the operator's choice, an invitation",
    "/auth/confirm": "the letter's token",
    "/auth/reset-request": "nothing is told",
    "/auth/reset": "the letter's token",
    "/auth/sign-out": "the cookie that it ends",
    "/auth/link/{token}": "the link's token",
    "/billing/webhooks/{provider}": "the provider's signature",
    "/objects/{key:path}": "the signature",
    "/healthz": "tells nothing",
    "/docs/api": "the same for everybody",
    "/readyz": "tells only which part is away",
    "/metrics": "loopback, or the operator's token",
}


def routes() -> list[APIRoute]:
    parts = (videos, receipts, models, uploads, media, auth, billing, objects, health, reference)
    return [route for part in parts for route in part.router.routes if isinstance(route, APIRoute)]


def calls(dependant: Dependant) -> Iterator[object]:
    yield dependant.call
    for inner in dependant.dependencies:
        yield from calls(inner)


def test_the_routes_are_seen() -> None:
    assert len(routes()) > 25


@pytest.mark.parametrize("route", routes(), ids=lambda route: f"{min(route.methods)} {route.path}")
def test_each_route_asks_who_is_there(route: APIRoute) -> None:
    asks = any(
        call is asker or getattr(call, "__qualname__", "").startswith("asker_with")
        for call in calls(route.dependant)
    )
    assert asks or route.path in OPEN
