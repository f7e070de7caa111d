"""Reflex's configuration of the web app. Importing it starts nothing."""

import reflex as rx
from reflex.plugins import SitemapPlugin

from backend.settings import load_settings
from frontend.no_eval import NoEvalPlugin
from frontend.same_origin import SameOriginPlugin

config = rx.Config(
    app_name="frontend",
    app_module_import="frontend.app",
    telemetry_enabled=False,
    show_built_with_reflex=False,
    # Nothing of a tab reaches a disk: a state holds its session's cookie. A tab reads anew after a restart.
    state_manager_mode=rx.constants.StateManagerMode.MEMORY,
    cors_allowed_origins=list(load_settings().own_origins),
    plugins=[SameOriginPlugin(), NoEvalPlugin()],
    disable_plugins=[SitemapPlugin],
)
