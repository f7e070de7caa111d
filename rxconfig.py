"""Reflex's configuration of the web app. Importing it starts nothing."""

import os

import reflex as rx
from reflex.plugins import SitemapPlugin

from frontend.no_eval import NoEvalPlugin
from frontend.same_origin import SameOriginPlugin


def _own_origins() -> list[str]:
    """Who may open the event socket: the studio's own address, and nobody else's page."""
    port = os.environ.get("ZOETROPE_PORT", "8400")
    local = [f"http://{host}:{port}" for host in ("127.0.0.1", "localhost", "[::1]")]
    public_url = os.environ.get("ZOETROPE_PUBLIC_URL", "").rstrip("/")
    return [public_url, *local] if public_url else local


config = rx.Config(
    app_name="frontend",
    app_module_import="frontend.app",
    telemetry_enabled=False,
    show_built_with_reflex=False,
    cors_allowed_origins=_own_origins(),
    plugins=[SameOriginPlugin(), NoEvalPlugin()],
    disable_plugins=[SitemapPlugin],
)
