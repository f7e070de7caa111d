"""What a tab's events may do to the studio: which are called at all, how many wait, and that none outlives its socket.

Any client fires any event by name, with any value, as fast as the socket lets it (backend/api/socket_limit.py).
"""

import functools
import inspect
import time
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, Final

import reflex as rx
from pydantic import BaseModel, Field, ValidationError
from reflex.app import EventNamespace
from reflex.event import Event
from reflex.state import EventHandlerSetVar, StateUpdate
from reflex_base.event import SUPERSEDES_MARKER, EventHandler
from reflex_base.event.processor import EventProcessor
from reflex_base.registry import RegistrationContext

from frontend.states import browser
from frontend.states.failures import SparingLog

MOST_WAITING: Final = 64
"""Events of one tab that wait for their turn: a page fires a handful."""
SAID_AGAIN_AFTER_S: Final = 5.0
TOO_MANY: Final = "Too much at once: your last click was left out. Wait a moment and repeat it."
MOST_NAME_CHARS: Final = 300


class _Router(BaseModel):
    """Where the tab is."""

    pathname: str = ""
    as_path: str = Field(default="", alias="asPath")
    query: dict[str, Any] = {}


class _Sent(BaseModel):
    """An event as a page sends it."""

    name: str = Field(max_length=MOST_NAME_CHARS)
    payload: dict[str, Any] = {}
    router_data: _Router = _Router()


class EventGate:
    """Stands before Reflex' own handling of events, and behind its handling of closed sockets."""

    def __init__(self, app: rx.App, namespace: EventNamespace) -> None:
        self._app = app
        self._namespace = namespace
        self._pass_on = namespace.on_event
        self._log = SparingLog(most=5)
        self._told_at_s: dict[str, float] = {}

    async def on_event(self, sid: str, data: Any) -> None:
        """Pass an event on, or leave it out: what is no event of a page's is said in the log, and not each time."""
        token = self._namespace.sid_to_token.get(sid)
        if token is None:
            return  # its socket is closed already
        if (wrong := _what_is_wrong(data)) is not None:
            self._log.warning("page.event_refused", reason=wrong)
            return
        if len(self._processor._token_queues.get(token, ())) >= MOST_WAITING:
            self._log.warning("page.event_left_out")
            await self._say_too_many(sid, token)
            return
        await self._pass_on(sid, data)

    def on_disconnect(self, sid: str) -> None:
        """End what this socket's tab still does, and drop what waits: nobody would see it."""
        self._told_at_s.pop(sid, None)
        token = self._namespace.sid_to_token.get(sid)
        if token is None or self._namespace.token_to_sid.get(token) != sid:
            return  # the tab is back on another socket
        processor = self._processor
        for name in _background():
            for watching in processor._superseded.pop((name, token), {}).values():
                watching.cancel()
        # The first one is being handled: a click on "make" is not cut off in the middle.
        for entry, _handler in list(processor._token_queues.get(token, ()))[1:]:
            if (waiting := processor._futures.get(entry.ctx.txid)) is not None:
                waiting.cancel()

    @property
    def _processor(self) -> EventProcessor:
        return self._app.event_processor

    async def _say_too_many(self, sid: str, token: str) -> None:
        now_s = time.monotonic()
        if now_s < self._told_at_s.get(sid, 0.0) + SAID_AGAIN_AFTER_S:
            return
        self._told_at_s[sid] = now_s
        notice = Event.from_event_type(browser.toast(TOO_MANY, tone="bad", instead_of="too-many"))
        await self._namespace.emit_update(StateUpdate(events=notice), token)


def guard_events(app: rx.App) -> None:
    """Put the gate before the app's events. A handler that runs in the background runs once in a tab, the newest."""
    namespace = app.event_namespace
    assert namespace is not None
    handlers = RegistrationContext.get().event_handlers
    for name, registered in list(handlers.items()):
        if isinstance(registered.handler, EventHandlerSetVar):
            del handlers[name]  # nobody declared it: it sets any var that has a setter
        elif registered.handler.is_background:
            setattr(registered.handler.fn, SUPERSEDES_MARKER, True)
    gate = EventGate(app, namespace)
    closed = namespace.on_disconnect

    def on_disconnect(sid: str) -> Any:
        gate.on_disconnect(sid)
        return closed(sid)

    namespace.on_event = gate.on_event  # type: ignore[method-assign]  # socketio looks it up on the instance
    namespace.on_disconnect = on_disconnect  # type: ignore[method-assign]  # as above


def _background() -> list[str]:
    handlers = RegistrationContext.get().event_handlers
    return [name for name, registered in handlers.items() if registered.handler.is_background]


def _what_is_wrong(data: object) -> str | None:
    """Why this is no event of a page's; None where it is one."""
    try:
        sent = _Sent.model_validate(data)
    except ValidationError:
        return "no event"
    registered = RegistrationContext.get().event_handlers.get(sent.name)
    if registered is None:
        return "no such handler"
    return None if _takes(registered.handler)(sent.payload) else "other arguments"


@functools.cache
def _takes(handler: EventHandler) -> Callable[[Mapping[str, object]], bool]:
    """Whether a handler takes these arguments: their names, and what is plain of their types."""
    signature = inspect.signature(handler.fn)
    kinds = {name: _classes(hint) for name, hint in typing.get_type_hints(handler.fn).items()}

    def takes(payload: Mapping[str, object]) -> bool:
        try:
            signature.bind(None, **payload)
        except TypeError:
            return False
        return all(
            name not in kinds or any(_is(value, kind) for kind in kinds[name])
            for name, value in payload.items()
        )

    return takes


def _classes(hint: object) -> tuple[type, ...]:
    """`dict[str, Any] | None` is a dict or None; what is no class can be anything."""
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        return tuple(kind for part in typing.get_args(hint) for kind in _classes(part))
    plain = typing.get_origin(hint) or hint
    return (plain,) if isinstance(plain, type) else (object,)


def _is(value: object, kind: type) -> bool:
    return isinstance(value, kind) and (kind in (bool, object) or not isinstance(value, bool))
