"""What the server remembers of a tab is its session's: it ends with the session, and another one never sees it."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs

import pytest
import reflex as rx
from reflex.event import Event
from reflex.state import BaseState
from simple_websocket import Client
from starlette.types import Receive, Scope, Send

from frontend import gateway as door
from frontend.gateway import Unavailable
from frontend.states.account import Account
from frontend.states.gallery import Gallery
from frontend.states.session import Session
from frontend.tabs import EndWithTheSession, keep_by_session
from frontend.views import AccountView
from tests.ui.fake_gateway import ACCOUNTS, FakeGateway

ALL = ("hydrate", "hydrate_and_load")
ROOT = rx.State.get_full_name()
OWNER = ACCOUNTS["creator"]


class Studio(FakeGateway):
    """One whose sessions can end, and whose database can be away."""

    def __init__(self) -> None:
        super().__init__()
        self.asks: AccountView | None = OWNER

    async def who_is(self, cookie: str) -> AccountView:
        if self.asks is None:
            raise Unavailable
        return self.asks


@pytest.fixture
def studio(monkeypatch: pytest.MonkeyPatch) -> Studio:
    made = Studio()
    monkeypatch.setattr(door, "_installed", made)
    return made


async def used_tab() -> BaseState:
    """A tab's states as the server keeps them, with something of their owner's in them."""
    root = rx.State(_reflex_internal_init=True)  # type: ignore[call-arg]  # Reflex' own way
    (await root.get_state(Session)).account = OWNER
    (await root.get_state(Gallery)).search = "a heron in the reeds"
    return root


async def sent(root: BaseState, name: str) -> str:
    event = Event(name=f"{ROOT}.{name}", router_data={})
    assert await EndWithTheSession().preprocess(None, root, event) is None  # type: ignore[arg-type]  # the app isn't asked
    return json.dumps(root.dict(), default=str)


@pytest.mark.parametrize("event", ALL)
async def test_a_tab_gets_its_own_state_back(studio: Studio, event: str) -> None:
    everything = await sent(await used_tab(), event)
    assert "heron" in everything
    assert OWNER.email in everything


@pytest.mark.parametrize("event", ALL)
@pytest.mark.parametrize(
    "asks", [AccountView(), ACCOUNTS["moderator"], None], ids=["nobody", "another", "away"]
)
async def test_nothing_is_left_of_it_for_anybody_else(
    studio: Studio, asks: AccountView | None, event: str
) -> None:
    studio.asks = asks
    everything = await sent(await used_tab(), event)
    assert "heron" not in everything
    assert OWNER.email not in everything


async def _token_seen(token: str, cookie: str) -> str:
    seen: list[str] = []

    async def app(scope: Scope, _receive: Receive, _send: Send) -> None:
        seen.append(parse_qs(scope["query_string"].decode())["token"][0])

    headers = [(b"cookie", cookie.encode())] if cookie else []
    scope: Scope = {
        "type": "websocket",
        "path": "/_event/",
        "query_string": f"EIO=4&token={token}".encode(),
        "headers": headers,
    }
    await keep_by_session(app)(scope, None, None)  # type: ignore[arg-type]  # never called
    return seen[0]


async def test_a_token_means_another_state_for_each_session() -> None:
    one = await _token_seen("tab", "zoetrope_session=one")
    assert one == await _token_seen("tab", "theme=dark; zoetrope_session=one")
    others = [await _token_seen("tab", "zoetrope_session=two"), await _token_seen("tab", "")]
    others += [
        await _token_seen("other", "zoetrope_session=one"),
        await _token_seen(one, "zoetrope_session=one"),
    ]
    assert len({one, "tab", *others}) == 6


class _Tab:
    """A socket that speaks as the client does."""

    def __init__(self, socket: Client) -> None:
        self._socket = socket

    def fire(self, name: str, until: str, **payload: Any) -> str:
        """What comes back of an event, until an answer holds that text."""
        event = {
            "name": name,
            "payload": payload,
            "router_data": {"pathname": "/nowhere", "asPath": "/nowhere"},
        }
        self._socket.send("42/_event," + json.dumps(["event", event]))
        heard = ""
        while until not in heard:
            said = self._socket.receive(timeout=20)
            assert said is not None, heard[-500:]
            if said == "2":
                self._socket.send("3")
            else:
                heard += said
        return heard


@contextmanager
def _tab(url: str, token: str, cookie: str) -> Iterator[_Tab]:
    address = url.replace("http", "ws", 1) + f"/_event/?token={token}&EIO=4&transport=websocket"
    socket = Client(address, headers={"Cookie": f"zoetrope_session={cookie}"} if cookie else None)
    try:
        socket.send("40/_event,{}")
        yield _Tab(socket)
    finally:
        socket.close()


@pytest.mark.parametrize("event", ALL)
@pytest.mark.parametrize("thief", ["", "forged", "moderator"])
def test_a_tabs_token_is_worth_nothing_without_its_session(served: str, event: str, thief: str) -> None:
    token = f"tab-of-{event}-{thief}"
    with _tab(served, token, "creator") as own:
        own.fire(f"{Gallery.get_full_name()}.find", "heron", words="a heron in the reeds")
        assert OWNER.email in own.fire(f"{ROOT}.{event}", '"is_hydrated')
    with _tab(served, token, thief) as stolen:
        everything = stolen.fire(f"{ROOT}.{event}", '"is_hydrated')
        assert "heron" not in everything
        assert OWNER.email not in everything
    with _tab(served, token, "creator") as back:
        assert "heron" in back.fire(f"{ROOT}.{event}", '"is_hydrated')


async def test_a_new_keys_secret_is_in_no_state(studio: Studio) -> None:
    root = await used_tab()
    account = await root.get_state(Account)
    shown = await Account.event_handlers["create_key"].fn(account, {"name": "notebook"})
    assert account.new_name == "notebook"
    assert "showSecret" in str(shown)
    secret = re.search(r"zk_77b2\w+", str(shown))
    assert secret
    assert secret[0] not in json.dumps(root.dict(), default=str)
    assert secret[0] not in str(vars(account))
