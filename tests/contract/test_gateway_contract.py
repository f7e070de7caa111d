"""What every gateway promises the pages: the studio's own and the one in memory do the same in the same scenarios.

The tests of the pages run on the one in memory; here it is held to the other.
"""

import dataclasses
import inspect
import typing
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Protocol

import pytest

from backend.auth.principal import Role
from backend.auth.tokens import SESSION_COOKIE
from backend.contracts import FailureCause
from backend.db.engine import Database
from backend.db.models import User
from backend.services.create_invitation import create_invitation
from backend.services.moderate_generation import moderate_generation
from backend.services.open_session import open_session
from backend.services.publish_generation import publish_generation
from backend.web_process import WebProcess
from frontend.gateway import Gateway, NotAllowed, Refused
from frontend.studio_gateway import StudioGateway
from frontend.views import AccountView, Draft
from moderation.verdict import Verdict
from tests.integration.life_rig import MessageWorker, empty, judge, make_creator, open_test_studio
from tests.ui.fake_gateway import INVITATION, FakeGateway

RED = Draft(prompt="a red circle moving right on a blue background", model="mini", size="", seconds="")
STAR = Draft(prompt="a yellow star growing on a green background", model="mini", size="", seconds="")


class House(Protocol):
    """A studio behind a gateway, and what happens in it that no page can do."""

    gateway: Gateway

    async def creator(self) -> AccountView: ...
    async def moderator(self) -> AccountView: ...
    async def step(self, job_id: str, step: int) -> None: ...
    async def finish(self, job_id: str) -> None: ...
    async def hold(self, job_id: str) -> None: ...
    async def fail(self, job_id: str) -> None: ...
    async def invitation(self) -> str: ...


class RealHouse:
    """The use cases, on the real database; its worker is only messages."""

    def __init__(self, process: WebProcess) -> None:
        self.gateway: Gateway = StudioGateway(process)
        self._studio = process.studio
        self._worker = MessageWorker(process.studio)
        self._orders: dict[str, typing.Any] = {}

    async def _come_in(self, role: Role) -> AccountView:
        somebody = await make_creator(self._studio, credits=100, role=role)
        async with self._studio.db.transaction() as session:
            token = (await open_session(session, await session.get_one(User, somebody.user_id))).token
        return await self.gateway.who_is(f"{SESSION_COOKIE}={token}")

    async def creator(self) -> AccountView:
        return await self._come_in(Role.CREATOR)

    async def moderator(self) -> AccountView:
        return await self._come_in(Role.MODERATOR)

    async def _order(self, job_id: str) -> typing.Any:
        if job_id not in self._orders:
            self._orders[job_id] = await self._worker.take(job_id)
        return self._orders[job_id]

    async def step(self, job_id: str, step: int) -> None:
        await self._worker.step(await self._order(job_id), step, preview=1)

    async def finish(self, job_id: str) -> None:
        await self._worker.finish(await self._order(job_id))
        await moderate_generation(self._studio, job_id, judge(Verdict.ALLOW))
        await publish_generation(self._studio, job_id)

    async def hold(self, job_id: str) -> None:
        await self._worker.finish(await self._order(job_id))
        await moderate_generation(self._studio, job_id, judge(Verdict.REVIEW))

    async def fail(self, job_id: str) -> None:
        await self._worker.fail(await self._order(job_id), FailureCause.BAD_INPUT)

    async def invitation(self) -> str:
        return (await create_invitation(self._studio)).rpartition("=")[2]


class FakeHouse:
    """The gateway in memory."""

    def __init__(self) -> None:
        self.fake = FakeGateway(empty=True)
        self.gateway: Gateway = self.fake
        self._creators = iter(("newcomer", "drafter", "collector"))

    async def creator(self) -> AccountView:
        return await self.gateway.who_is(f"zoetrope_session={next(self._creators)}")

    async def moderator(self) -> AccountView:
        return await self.gateway.who_is("zoetrope_session=moderator")

    async def step(self, job_id: str, step: int) -> None:
        self.fake.step(job_id, step)

    async def finish(self, job_id: str) -> None:
        self.fake.finish(job_id)

    async def hold(self, job_id: str) -> None:
        self.fake.hold(job_id)

    async def fail(self, job_id: str) -> None:
        self.fake.fail(job_id)

    async def invitation(self) -> str:
        return INVITATION


@pytest.fixture(params=["studio", "fake"])
async def house(
    request: pytest.FixtureRequest, db: Database, valkey_url: str, tmp_path: Path
) -> AsyncIterator[House]:
    if request.param == "fake":
        yield FakeHouse()
        return
    await empty(db)
    process = WebProcess(lambda: open_test_studio(db, valkey_url, tmp_path))
    yield RealHouse(process)
    await process.live.close()
    await process.studio.wakeups.close()


def check(view: object) -> None:
    """A view as pages take it: each field of the type it says, times in ISO 8601, addresses on this site."""
    hints = typing.get_type_hints(type(view))
    for field in dataclasses.fields(view):  # type: ignore[arg-type]  # a view is a dataclass
        value, wanted = getattr(view, field.name), hints[field.name]
        name = f"{type(view).__name__}.{field.name}"
        if typing.get_origin(wanted) is list:
            assert isinstance(value, list), name
            for item in value:
                if dataclasses.is_dataclass(item):
                    check(item)
        elif dataclasses.is_dataclass(wanted):
            check(value)
        else:
            assert isinstance(value, wanted), f"{name} is {value!r}"
        if field.name.endswith("_at") and value:
            assert datetime.fromisoformat(value).tzinfo is not None, name
        if field.name.endswith("_url") and value:
            assert value.startswith("/"), name


@pytest.mark.parametrize("implementation", [StudioGateway, FakeGateway])
def test_it_can_be_asked_all_that_pages_ask_and_in_the_same_words(implementation: type) -> None:
    for name, asked in inspect.getmembers(Gateway, inspect.isfunction):
        if name.startswith("_"):
            continue
        offered = inspect.signature(inspect.unwrap(getattr(implementation, name)))
        wanted = inspect.signature(asked)
        assert [(p.name, p.kind, p.default) for p in offered.parameters.values()] == [
            (p.name, p.kind, p.default) for p in wanted.parameters.values()
        ], name


async def test_nobody_is_nobody(house: House) -> None:
    for cookie in ("", "zoetrope_session=forged", "other=1"):
        assert await house.gateway.who_is(cookie) == AccountView()


async def test_a_model_has_what_the_composer_draws(house: House) -> None:
    models = await house.gateway.models(await house.creator())
    for model in models:
        check(model)
        assert model.sizes
        assert model.lengths
        assert model.steps_low <= model.steps_default <= model.steps_high
        assert {group.slot for group in model.words} >= {"shape", "colour", "motion", "background"}
        assert all(f"[{group.slot}" in model.sentence for group in model.words)


async def test_a_price_is_known_before_anything_is_sent(house: House) -> None:
    quote = await house.gateway.quote(
        await house.creator(), Draft(prompt="", model="mini", size="", seconds="")
    )
    check(quote)
    assert quote.known
    assert quote.affordable
    assert quote.credits > 0


async def test_a_wrong_setting_is_refused_by_its_field(house: House) -> None:
    creator = await house.creator()
    wrong = dataclasses.replace(RED, steps="9999")
    for ask in (house.gateway.quote, house.gateway.submit):
        with pytest.raises(Refused) as caught:
            await ask(creator, wrong)
        assert caught.value.field == "steps"
        assert caught.value.message.startswith("Steps")
    assert await house.gateway.jobs(creator) == []


async def test_unknown_words_are_named(house: House) -> None:
    creator = await house.creator()
    said = await house.gateway.unknown_words(creator, model="mini", prompt="a pink elephant")
    assert said.startswith("Mini doesn’t know: pink, elephant.")
    assert await house.gateway.unknown_words(creator, model="mini", prompt=RED.prompt) == ""


async def test_a_job_is_followed_from_the_queue_to_its_clip(house: House) -> None:
    gateway, creator = house.gateway, await house.creator()
    sent = await gateway.submit(creator, RED)
    (waiting,) = await gateway.jobs(creator)
    check(waiting)
    assert (waiting.id, waiting.prompt, waiting.ended, waiting.can_cancel) == (
        sent.id,
        RED.prompt,
        False,
        True,
    )
    assert (waiting.at_work, waiting.in_review, waiting.step, waiting.stop_cost) == (False, False, 0, "")
    page = await gateway.clip(creator, sent.id)
    assert page is not None
    check(page)
    assert (page.id, page.under_way, page.shown) == (sent.id, True, False)
    assert (await gateway.clips(creator)).clips == []

    await house.step(sent.id, 8)
    (running,) = await gateway.jobs(creator)
    check(running)
    assert (running.at_work, running.step, running.ended) == (True, 8, False)
    assert running.headline.startswith("Step 8 of ")
    assert 0 < running.percent < 100
    assert running.preview_url
    assert "You pay" in running.stop_cost

    await house.finish(sent.id)
    assert await gateway.jobs(creator) == []
    (clip,) = (await gateway.clips(creator)).clips
    check(clip)
    assert (clip.id, clip.shown, clip.under_way, clip.state) == (sent.id, True, False, "completed")
    assert all((clip.poster_url, clip.video_url, clip.download_url, clip.settings_url))
    whole = await gateway.clip(creator, sent.id)
    assert whole is not None
    check(whole)
    assert {"Seed", "Steps", "Clip id"} <= {param.name for param in whole.params}
    assert whole.again_price


async def test_neighbours_are_the_clips_made_before_and_after(house: House) -> None:
    gateway, creator = house.gateway, await house.creator()
    ids = []
    for draft in (RED, STAR, RED):
        ids.append((await gateway.submit(creator, draft)).id)
        await house.finish(ids[-1])
    first, middle, last = [await gateway.clip(creator, clip_id) for clip_id in ids]
    assert first is not None
    assert middle is not None
    assert last is not None
    assert (middle.newer_id, middle.older_id) == (ids[2], ids[0])
    assert (last.newer_id, first.older_id) == ("", "")


async def test_the_gallery_has_pages_words_and_parts(house: House) -> None:
    gateway, creator = house.gateway, await house.creator()
    ids = []
    for draft in (RED, STAR, RED):
        ids.append((await gateway.submit(creator, draft)).id)
        await house.finish(ids[-1])
    page = await gateway.clips(creator, limit=2)
    assert [clip.id for clip in page.clips] == [ids[2], ids[1]]
    rest = await gateway.clips(creator, limit=2, cursor=page.cursor)
    assert ([clip.id for clip in rest.clips], rest.cursor) == ([ids[0]], "")
    assert [clip.id for clip in (await gateway.clips(creator, search="star")).clips] == [ids[1]]
    await gateway.set_favourite(creator, ids[0], True)
    await gateway.rate(creator, ids[0], -1)
    (marked,) = (await gateway.clips(creator, show="favourites")).clips
    assert (marked.id, marked.favourite, marked.rating) == (ids[0], True, -1)
    assert await gateway.delete_clips(creator, [ids[0], ids[1], ids[1]]) == 2
    assert [clip.id for clip in (await gateway.clips(creator)).clips] == [ids[2]]
    assert await gateway.clip(creator, ids[0]) is None


async def test_what_is_cancelled_can_be_asked_for_again(house: House) -> None:
    gateway, creator = house.gateway, await house.creator()
    sent = await gateway.submit(creator, RED)
    stopped = await gateway.cancel(creator, sent.id)
    check(stopped)
    assert (stopped.ended, stopped.can_cancel, stopped.can_retry) == (True, False, True)
    assert stopped.short == "Cancelled, not charged"
    assert (await gateway.cancel(creator, sent.id)).short == stopped.short
    again = await gateway.retry(creator, sent.id)
    (waiting,) = await gateway.jobs(creator)
    assert (waiting.id, waiting.ended, waiting.short) == (again.id, False, "")
    assert again.id != sent.id


async def test_what_was_stopped_at_a_price_makes_place_when_it_is_asked_for_again(house: House) -> None:
    gateway, creator = house.gateway, await house.creator()
    sent = await gateway.submit(creator, RED)
    await house.step(sent.id, 15)
    (running,) = await gateway.jobs(creator)
    stopped = await gateway.cancel(creator, sent.id, seen_steps=running.stop_steps)
    assert "not charged" not in stopped.short
    again = await gateway.retry(creator, sent.id)
    assert [job.id for job in await gateway.jobs(creator)] == [again.id]


async def test_what_failed_says_so_and_can_be_removed(house: House) -> None:
    gateway, creator = house.gateway, await house.creator()
    sent = await gateway.submit(creator, RED)
    await house.fail(sent.id)
    (failed,) = await gateway.jobs(creator)
    check(failed)
    assert (failed.ended, failed.went_wrong, failed.can_retry) == (True, True, True)
    assert failed.short == "Failed, not charged"
    with pytest.raises(Refused):
        await gateway.cancel(creator, sent.id)
    await gateway.remove(creator, sent.id)
    assert await gateway.jobs(creator) == []


async def test_one_press_makes_one_variation(house: House) -> None:
    gateway, creator = house.gateway, await house.creator()
    sent = await gateway.submit(creator, RED)
    await house.finish(sent.id)
    once = await gateway.vary(creator, sent.id, press="a")
    assert (await gateway.vary(creator, sent.id, press="a")).id == once.id
    assert (await gateway.vary(creator, sent.id, press="b")).id != once.id
    assert once.prompt == RED.prompt
    assert len(await gateway.jobs(creator)) == 2
    with pytest.raises(Refused):
        await gateway.vary(creator, "video_nowhere", press="a")


async def test_the_settings_of_a_clip_make_a_draft(house: House) -> None:
    gateway, creator = house.gateway, await house.creator()
    sent = await gateway.submit(creator, RED)
    await house.finish(sent.id)
    draft = await gateway.settings_of(creator, sent.id)
    assert draft is not None
    assert (draft.prompt, draft.model, draft.seed.isdecimal()) == (RED.prompt, "mini", True)
    assert await gateway.settings_of(creator, "video_nowhere") is None


async def test_somebody_elses_is_not_there(house: House) -> None:
    gateway, creator, other = house.gateway, await house.creator(), await house.creator()
    sent = await gateway.submit(creator, RED)
    assert await gateway.clip(other, sent.id) is None
    assert await gateway.jobs(other) == []
    assert await gateway.delete_clips(other, [sent.id]) == 0
    for attempt in (gateway.cancel, gateway.retry):
        with pytest.raises(Refused):
            await attempt(other, sent.id)


async def test_what_a_moderator_has_to_decide_waits_unseen_until_it_is_blocked(house: House) -> None:
    gateway, creator, moderator = house.gateway, await house.creator(), await house.moderator()
    sent = await gateway.submit(creator, RED)
    await house.hold(sent.id)
    (held,) = await gateway.jobs(creator)
    check(held)
    assert (held.in_review, held.at_work, held.headline) == (True, False, "Waits for a moderator")
    (listed,) = (await gateway.clips(creator, show="review")).clips
    assert (listed.id, listed.shown, listed.video_url, listed.poster_url) == (sent.id, False, "", "")

    assert await gateway.waiting_cases(moderator) == 1
    (waiting,) = await gateway.cases(moderator)
    check(waiting)
    assert (waiting.prompt, waiting.video_url, waiting.scores) == (RED.prompt, "", [])
    case = await gateway.take_case(moderator, waiting.id)
    check(case)
    assert (case.id, case.job_id, bool(case.video_url), bool(case.scores)) == (
        waiting.id,
        sent.id,
        True,
        True,
    )

    await gateway.decide(moderator, case.id, allow=True, note="")
    assert await gateway.waiting_cases(moderator) == 0
    await gateway.undo_decision(moderator, case.id)
    assert await gateway.waiting_cases(moderator) == 1
    await gateway.decide(moderator, case.id, allow=False, note="")
    assert await gateway.cases(moderator) == []
    (blocked,) = await gateway.jobs(creator)
    assert (blocked.ended, blocked.went_wrong, blocked.can_retry, blocked.in_review) == (
        True,
        True,
        False,
        False,
    )
    assert blocked.short.startswith("Not allowed here")
    assert [clip.id for clip in (await gateway.clips(creator, show="blocked")).clips] == [sent.id]
    assert (await gateway.clips(creator, show="stopped")).clips == []


async def test_a_creator_has_no_say_in_review(house: House) -> None:
    gateway, creator = house.gateway, await house.creator()
    for attempt in (
        gateway.cases(creator),
        gateway.waiting_cases(creator),
        gateway.take_case(creator, "case_1"),
        gateway.decide(creator, "case_1", allow=True, note=""),
        gateway.undo_decision(creator, "case_1"),
    ):
        with pytest.raises(NotAllowed):
            await attempt


async def test_a_key_is_made_listed_and_ended(house: House) -> None:
    gateway, creator = house.gateway, await house.creator()
    with pytest.raises(Refused) as caught:
        await gateway.create_key(creator, name="", scopes=["videos:read"], expires_in_days=None)
    assert caught.value.field == "name"
    key, secret = await gateway.create_key(creator, name="farm", scopes=["videos:read"], expires_in_days=30)
    check(key)
    assert secret
    (listed,) = await gateway.keys(creator)
    assert (listed.id, listed.name, listed.live, listed.scopes) == (key.id, "farm", True, "read only")
    await gateway.revoke_key(creator, key.id)
    (ended,) = await gateway.keys(creator)
    assert (ended.live, ended.state_label) == (False, "Revoked")


async def test_the_door_tells_a_good_invitation_from_one_that_is_none(house: House) -> None:
    plain = await house.gateway.door()
    check(plain)
    assert (plain.signup, plain.sends_mail, plain.invitation) == ("invitation", False, "")
    assert plain.place
    good = await house.gateway.door(invitation=await house.invitation())
    assert (good.invitation, bool(good.invited_tier)) == ("good", True)
    assert (await house.gateway.door(invitation="never-made")).invitation == "ended"


async def test_a_watcher_hears_of_a_change_and_of_nothing_else(house: House) -> None:
    gateway, creator = house.gateway, await house.creator()
    with gateway.watch(creator) as changes:
        await changes.next(5)  # whatever happened before anybody listened
        assert await changes.next(0.05) is None
        await gateway.submit(creator, RED)
        assert await changes.next(5) is not None
