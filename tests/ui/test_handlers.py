"""Any client can fire any event by name: each handler of each state asks who is asking, first."""

import inspect
from collections.abc import Iterator
from typing import Any

import pytest
from reflex.istate.data import RouterData

from frontend import gateway as door
from frontend.gateway import NotAllowed, NotSignedIn
from frontend.pages import PAGES
from frontend.states.moderation import Moderation
from frontend.states.session import Session
from tests.ui.fake_gateway import FakeGateway


def _states(root: type[Session]) -> Iterator[type[Session]]:
    for state in root.__subclasses__():
        yield state
        yield from _states(state)


def _handlers() -> Iterator[tuple[type[Session], str]]:
    for state in _states(Session):
        if state.__module__.startswith("frontend."):
            for name in state.event_handlers:
                if name in state.__dict__ and name != "setvar":
                    yield state, name


HANDLERS = sorted(set(_handlers()), key=lambda pair: (pair[0].__name__, pair[1]))


class _Tab:
    """A state as its handlers see it, without a server; `cookie` is what its socket carried."""

    def __init__(self, state: type[Session], cookie: str) -> None:
        self._state = state
        headers = type("Headers", (), {"cookie": cookie})()
        self.router = type("Router", (), {"headers": headers, "url": RouterData().url})()
        self.touched: list[str] = []

    def __getattr__(self, name: str) -> Any:
        found = inspect.getattr_static(self._state, name)
        return found.__get__(self) if inspect.isfunction(found) else ""

    async def __aenter__(self) -> "_Tab":
        return self

    async def __aexit__(self, *_: object) -> None:
        return None


async def _fire(state: type[Session], name: str, cookie: str) -> None:
    function = state.event_handlers[name].fn
    wanted = list(inspect.signature(function).parameters.values())[1:]
    given = [
        False if p.annotation is bool else {} if "dict" in str(p.annotation) else "video_0000" for p in wanted
    ]
    answer = function(_Tab(state, cookie), *given)
    if inspect.isasyncgen(answer):
        async for _ in answer:
            pass
    else:
        await answer


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeGateway:
    studio = FakeGateway()
    monkeypatch.setattr(door, "_installed", studio)
    return studio


def test_no_var_can_be_set_by_name() -> None:
    for state in _states(Session):
        assert not [name for name in state.event_handlers if name.startswith("set_")]


def test_there_are_handlers_to_ask() -> None:
    assert len(HANDLERS) > 30
    assert len(PAGES) > 8


@pytest.mark.parametrize(("state", "name"), HANDLERS, ids=lambda value: getattr(value, "__name__", value))
@pytest.mark.parametrize("cookie", ["", "zoetrope_session=forged", "other=creator"])
async def test_nobody_is_refused_before_anything_is_asked(
    fake: FakeGateway, state: type[Session], name: str, cookie: str
) -> None:
    with pytest.raises(NotSignedIn):
        await _fire(state, name, cookie)
    assert fake.calls == []


@pytest.mark.parametrize("name", [name for state, name in HANDLERS if state is Moderation])
async def test_a_creator_is_refused_in_moderation(fake: FakeGateway, name: str) -> None:
    with pytest.raises(NotAllowed):
        await _fire(Moderation, name, "zoetrope_session=creator")
    assert fake.calls == []
