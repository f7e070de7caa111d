"""Puts the web app together: pages, head, error handling, the API on the same port."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import reflex as rx
from fastapi import FastAPI
from reflex.state import FrontendEventExceptionState
from reflex_base.config import get_config
from reflex_base.vars.function import ArgsFunctionOperation
from reflex_components_core.base.error_boundary import ErrorBoundary
from starlette.types import ASGIApp

from frontend.addresses import plain_addresses
from frontend.build import CLIENT
from frontend.caching import cache_built_files
from frontend.components.connection import connection_banner
from frontend.components.mark import mark
from frontend.event_gate import guard_events
from frontend.gateway import Gateway, install
from frontend.pages import PAGES, not_found
from frontend.policy import MediaOrigin, our_own_origin, page_policy
from frontend.states.failures import answer, note_broken_page
from frontend.states.session import Session
from frontend.strangers import forget_strangers
from frontend.tabs import EndWithTheSession, keep_by_session
from frontend.top import top_edge


def _head() -> list[rx.Component]:
    return [
        rx.el.meta(name="color-scheme", content="dark light"),
        rx.el.meta(
            name="theme-color", content="#12100e", custom_attrs={"media": "(prefers-color-scheme: dark)"}
        ),
        rx.el.meta(
            name="theme-color", content="#f5f1e9", custom_attrs={"media": "(prefers-color-scheme: light)"}
        ),
        rx.el.link(rel="icon", href="/favicon.svg", type="image/svg+xml"),
        rx.el.link(
            rel="preload",
            href="/fonts/commissioner-latin-wght-normal.woff2",
            custom_attrs={"as": "font"},
            type="font/woff2",
            cross_origin="anonymous",
        ),
        rx.el.script(src="/js/theme.js"),
        rx.el.script(src="/js/studio.js", type="module"),
    ]


def _awaited_at_end(at_end: Callable[[], Awaitable[None]]) -> Callable[[], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def until_the_end() -> AsyncIterator[None]:
        yield
        await at_end()

    return until_the_end


def _plain_addresses(app: ASGIApp) -> ASGIApp:
    return plain_addresses(app, [page.route for page in PAGES])


def _broken() -> rx.Component:
    return rx.el.main(
        mark("mark mark-empty"),
        rx.el.h1("This page broke"),
        rx.el.p("That is a defect of the studio, not of your work: jobs and clips are safe."),
        rx.el.a("Load it again", href="", reload_document=True, class_name="button button-primary"),
        class_name="alone",
        role="alert",
    )


class _App(rx.App):
    """Reflex's app, with ours around what it serves."""

    def __call__(self) -> ASGIApp:
        """What a server serves."""
        (api,) = [part for part in self.api_transformer or () if isinstance(part, FastAPI)]  # type: ignore[union-attr]  # a list, as given below
        return top_edge(super().__call__(), api, get_config().cors_allowed_origins)


def _pages_with_policy(media_origin: MediaOrigin) -> Callable[[ASGIApp], ASGIApp]:
    return lambda pages: page_policy(pages, CLIENT, media_origin)


def build_app(
    *,
    api: FastAPI,
    gateway: Gateway,
    at_end: Callable[[], Awaitable[None]] | None = None,
    media_origin: MediaOrigin = our_own_origin,
) -> rx.App:
    """The whole web app over an API and a gateway.

    `api` is a FastAPI app: its routes win over pages. `at_end` is awaited when the server stops. `media_origin` says
    where clips come from, when that isn't where the pages are.
    """
    install(gateway)
    # It would send code to reload the page with; the client evaluates none.
    FrontendEventExceptionState.auto_reload_on_errors = []
    app = _App(
        stylesheets=["tokens.css", "studio.css"],
        head_components=_head(),
        html_lang="en",
        toaster=None,
        backend_exception_handler=answer,
        frontend_exception_handler=note_broken_page,
        api_transformer=[
            _pages_with_policy(media_origin),
            api,
            cache_built_files,
            _plain_addresses,
            keep_by_session,
        ],
        app_wraps={
            (55, "ErrorBoundary"): lambda stateful: ErrorBoundary.create(
                fallback_render=ArgsFunctionOperation.create(("failure",), rx.Var.create(_broken()))
            ),
            (5, "Connection"): lambda stateful: connection_banner(),
        },
    )
    guard_events(app)
    forget_strangers(app)
    app.add_middleware(EndWithTheSession())
    if at_end is not None:
        app.register_lifespan_task(_awaited_at_end(at_end))
    for page in PAGES:
        app.add_page(page.component, route=page.route, title=page.title, on_load=page.on_load)
    app.add_page(not_found, route="404", title="Not here · Zoetrope", on_load=Session.look)
    return app
