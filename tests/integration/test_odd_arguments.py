"""Events with values that no page of ours sends: each is refused in words, and none is a defect's traceback."""

import inspect
from collections.abc import Coroutine
from dataclasses import fields, replace

import pytest

from backend.auth.principal import Role
from backend.studio import Studio
from frontend.gateway import Gateway, NotAllowed, NotSignedIn, Refused
from frontend.studio_gateway import StudioGateway
from frontend.views import AccountView, Draft
from tests.integration.life_rig import MessageWorker, make_creator, run_to_end
from tests.integration.test_studio_gateway import RED, _come_in, creator, gateway, process, studio

__all__ = ["creator", "gateway", "process", "studio"]

ODD: tuple[object, ...] = (
    "\ud800", "\x00", "a\x00b", "/clips/\x00", "x" * 5_000, "x" * 1_000_000, "9" * 5_000, "²", "٣", "' & | ! <-> (",
    "-1", -1, 2**70, 1.5, True, None, [], ["\x00"], ["x"] * 10, {"a": 1}, ("\ud800",),
)  # fmt: skip
USUAL: dict[str, object] = {
    "draft": RED,
    "model": "mini",
    "prompt": "a red circle",
    "press": "1",
    "favourite": True,
    "rating": 1,
    "name": "a key",
    "scopes": ["videos:read"],
    "expires_in_days": 30,
    "allow": True,
    "note": "",
}
METHODS = {
    name: inspect.signature(method)
    for name, method in inspect.getmembers(StudioGateway, inspect.iscoroutinefunction)
    if not name.startswith("_") and name != "who_is"
}
TABLE = [
    (name, parameter)
    for name, signature in METHODS.items()
    for parameter in signature.parameters
    if parameter not in ("self", "who", "draft")
]


async def _refusal(asking: Coroutine[object, object, object]) -> bytes:
    """What is said to the page, as it goes over the wire; nothing when all went well. Any other error is a defect."""
    try:
        await asking
    except (Refused, NotAllowed, NotSignedIn) as refusal:
        return str(refusal).encode()
    return b""


def test_every_method_of_the_gateway_is_in_the_table() -> None:
    wanted = {name for name, _ in inspect.getmembers(Gateway, inspect.iscoroutinefunction)} - {"who_is"}
    assert wanted <= set(METHODS)
    assert {"clip", "cancel", "take_case", "revoke_key"} <= {name for name, _parameter in TABLE}


@pytest.mark.parametrize(("name", "parameter"), TABLE, ids=lambda value: str(value))
async def test_no_odd_value_of_an_argument_is_a_defect(
    studio: Studio, gateway: Gateway, creator: AccountView, worker: MessageWorker, name: str, parameter: str
) -> None:
    sent = await gateway.submit(creator, RED)
    await run_to_end(studio, worker, sent.id)
    moderator = await _come_in(studio, gateway, await make_creator(studio, role=Role.MODERATOR))
    for odd in ODD:
        given: dict[str, object] = {}
        for wanted in METHODS[name].parameters:
            if wanted in ("who", "self"):
                continue
            usual = sent.id if wanted.endswith("_id") else USUAL.get(wanted, "")
            given[wanted] = odd if wanted == parameter else usual
        for who in (creator, moderator):
            people = [who] if "who" in METHODS[name].parameters else []
            assert len(await _refusal(getattr(gateway, name)(*people, **given))) < 1_000


@pytest.mark.parametrize("field", [field.name for field in fields(Draft)])
async def test_no_odd_field_of_a_draft_is_a_defect(
    gateway: Gateway, creator: AccountView, field: str
) -> None:
    for odd in ODD:
        for ask in (gateway.quote, gateway.submit):
            assert len(await _refusal(ask(creator, replace(RED, **{field: odd})))) < 1_000


async def test_a_clip_whose_id_is_none_is_simply_not_there(gateway: Gateway, creator: AccountView) -> None:
    for odd in ("\x00", "\ud800", "x" * 10_000, "key_00000000000000000000000000"):
        assert await gateway.clip(creator, odd) is None
        assert await gateway.settings_of(creator, odd) is None
        assert await gateway.delete_clips(creator, [odd]) == 0


async def test_a_draft_is_cleaned_as_the_api_cleans_it(gateway: Gateway, creator: AccountView) -> None:
    sent = await gateway.submit(creator, replace(RED, prompt="a red\x00 circle\x1b moving right"))
    assert sent.prompt == "a red circle moving right"
    for prompt in ("\u200b\u200b", "\u3164"):
        with pytest.raises(Refused, match="empty"):
            await gateway.submit(creator, replace(RED, prompt=prompt))
