"""Whose a tab's server state is: its session's, and nobody else's.

Reflex finds a tab's state by a token that the page keeps through signing in and out, and gives all of it to whoever
sends that token. So the state is kept under the token and the session together, and before all of it is sent, whoever
asks is looked up again: when a session ended, its state ends too.
"""

import hashlib
from urllib.parse import parse_qsl, urlencode

import reflex as rx
from reflex.event import Event
from reflex.middleware.middleware import Middleware
from reflex.state import BaseState, StateUpdate
from reflex_base.constants import CompileVars
from reflex_base.utils.format import format_event_handler
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from backend.auth.tokens import session_token
from frontend.gateway import Unavailable, gateway
from frontend.states.session import Session
from frontend.views import AccountView

EVENT_SOCKET = "/_event"
_TOKEN = "token"
_SEND_ALL = frozenset(
    format_event_handler(rx.State.event_handlers[name])
    for name in (CompileVars.HYDRATE, CompileVars.HYDRATE_AND_LOAD)
)


def keep_by_session(app: ASGIApp) -> ASGIApp:
    """Wrap an ASGI app: a tab's token means another state for each session that sends it."""

    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in {"http", "websocket"} and scope["path"].startswith(EVENT_SOCKET):
            query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
            session = session_token(Headers(scope=scope).get("cookie", "")) or ""
            own = [(name, _own(value, session) if name == _TOKEN else value) for name, value in query]
            scope = {**scope, "query_string": urlencode(own).encode()}
        await app(scope, receive, send)

    return wrapped


class EndWithTheSession(Middleware):
    """Before a tab is sent its whole state: one that isn't the asker's is emptied."""

    async def preprocess(self, app: rx.App, state: BaseState, event: Event) -> StateUpdate | None:
        """Look up who asks. While the studio can't tell, nothing that it remembers is shown."""
        if event.name not in _SEND_ALL:
            return None
        root = state._get_root_state()
        try:
            who = await gateway().who_is(state.router.headers.cookie)
        except Unavailable:
            who = AccountView()
        owner = (await root.get_state(Session)).account
        if not who.signed_in or (owner.id, owner.user_id) not in {("", ""), (who.id, who.user_id)}:
            root.reset()  # type: ignore[no-untyped-call]  # Reflex' own
        return None


def _own(token: str, session: str) -> str:
    return hashlib.sha256(f"{token}\n{session}".encode()).hexdigest()[:32]
