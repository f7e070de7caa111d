"""A tab of nobody leaves nothing behind: its state goes with its socket, for anybody can open tabs by the thousand.

The tabs of somebody keep theirs for Reflex's hour, so that a connection that was lost goes on where it was.
"""

import asyncio

import reflex as rx
from reflex.istate.manager.memory import StateManagerMemory
from reflex.istate.manager.token import BaseStateToken
from reflex.state import BaseState

from frontend.states.session import Session


def forget_strangers(app: rx.App) -> None:
    """Have the app forget a tab that was never signed in when its socket closes."""
    namespace = app.event_namespace
    assert namespace is not None
    closed = namespace.on_disconnect
    forgetting: set[asyncio.Task[None]] = set()

    def on_disconnect(sid: str) -> asyncio.Task[None] | None:
        token = namespace.sid_to_token.get(sid)
        done: asyncio.Task[None] | None = closed(sid)
        if token is not None:
            task = asyncio.create_task(_forget(app, token))
            forgetting.add(task)
            task.add_done_callback(forgetting.discard)
        return done

    namespace.on_disconnect = on_disconnect  # type: ignore[method-assign]  # socketio looks it up on the instance


async def _forget(app: rx.App, token: str) -> None:
    manager = app.state_manager
    assert isinstance(manager, StateManagerMemory), "rxconfig.py says so"
    assert app.event_namespace is not None
    if token in app.event_namespace.token_to_sid:
        return  # it is back already
    root = manager.states.get(token)
    if not isinstance(root, BaseState) or (await root.get_state(Session)).account.signed_in:
        return
    held = BaseStateToken(ident=token, cls=type(root))
    lock = manager._states_locks.get(held.lock_key)
    if lock is not None:  # an event of it is being handled
        async with lock:
            pass
    manager._purge_token(held)
