"""What the pages see of real jobs, on the real database, with a worker that is only messages."""

from collections.abc import AsyncIterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from backend.auth.principal import Principal, Role
from backend.auth.tokens import SESSION_COOKIE
from backend.contracts import FailureCause
from backend.db.engine import Database
from backend.db.models import User
from backend.services.moderate_generation import moderate_generation
from backend.services.open_session import open_session
from backend.studio import Studio
from backend.web_process import WebProcess
from frontend.gateway import Gateway, NotAllowed, Refused
from frontend.studio_gateway import StudioGateway
from frontend.views import AccountView, Draft
from moderation.verdict import Verdict
from tests.integration.life_rig import (
    MessageWorker,
    empty,
    judge,
    make_creator,
    open_test_studio,
    run_to_end,
)

RED = Draft(prompt="a red circle moving right on a blue background", model="mini", size="", seconds="")


@pytest.fixture
async def process(db: Database, valkey_url: str, tmp_path: Path) -> AsyncIterator[WebProcess]:
    await empty(db)
    made = WebProcess(lambda: open_test_studio(db, valkey_url, tmp_path))
    yield made
    await made.live.close()
    await made.studio.wakeups.close()


@pytest.fixture
def studio(process: WebProcess) -> Studio:
    return process.studio


@pytest.fixture
def gateway(process: WebProcess) -> Gateway:
    return StudioGateway(process)


async def _come_in(studio: Studio, gateway: Gateway, somebody: Principal) -> AccountView:
    async with studio.db.transaction() as session:
        user = await session.get_one(User, somebody.user_id)
        token = (await open_session(session, user)).token
    return await gateway.who_is(f"theme=dark; {SESSION_COOKIE}={token}")


@pytest.fixture
async def creator(studio: Studio, gateway: Gateway) -> AccountView:
    return await _come_in(studio, gateway, await make_creator(studio, credits=100))


async def test_a_cookie_names_its_account_and_no_other(gateway: Gateway, creator: AccountView) -> None:
    assert (creator.signed_in, creator.credits, creator.may_moderate) == (True, 100, False)
    for cookie in ("", f"{SESSION_COOKIE}=forged", "other=1", f"{SESSION_COOKIE}="):
        assert await gateway.who_is(cookie) == AccountView()


async def test_the_price_is_known_before_anything_is_sent(gateway: Gateway, creator: AccountView) -> None:
    quote = await gateway.quote(creator, Draft(prompt="", model="mini", size="", seconds=""))
    assert quote.known
    assert quote.affordable
    sent = await gateway.submit(creator, RED)
    assert (await gateway.clip(creator, sent.id)) is not None


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"steps": "9999"}, "steps"),
        ({"steps": "many"}, "steps"),
        ({"seed": "-4"}, "seed"),
        ({"size": "3x3"}, "size"),
        ({"seconds": "99"}, "seconds"),
        ({"image_id": "upload_nowhere"}, "image_id"),
        ({"prompt": " "}, "prompt"),
    ],
)
async def test_a_wrong_field_is_named_as_the_composer_names_it(
    gateway: Gateway, creator: AccountView, fields: dict[str, str], field: str
) -> None:
    draft = Draft(**{"prompt": RED.prompt, "model": "mini", "size": "", "seconds": "", **fields})
    with pytest.raises(Refused) as caught:
        await gateway.submit(creator, draft)
    assert caught.value.field == field
    assert await gateway.jobs(creator) == []


async def test_only_who_runs_the_studio_is_told_to_start_a_worker(
    studio: Studio, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nobody_serves(question: dict[str, object]) -> dict[str, object]:
        place = {"position": None, "of": 1, "reason": "no live worker can run mini"}
        return {"places": {sent.id: place}} if question["ask"] == "places" else {}

    told = []
    for role in (Role.CREATOR, Role.ADMIN):
        who = await _come_in(studio, gateway, await make_creator(studio, credits=100, role=role))
        sent = await gateway.submit(who, RED)
        monkeypatch.setattr(studio.wakeups, "ask_leader", nobody_serves)
        (job,) = await gateway.jobs(who)
        told.append("zoetrope doctor" in job.detail)
        monkeypatch.undo()
    assert told == [False, True]


async def test_two_presses_of_one_button_are_one_job(gateway: Gateway, creator: AccountView) -> None:
    pressed = Draft(prompt=RED.prompt, model="mini", size="", seconds="", idempotency_key="one-press")
    assert (await gateway.submit(creator, pressed)).id == (await gateway.submit(creator, pressed)).id
    assert len(await gateway.jobs(creator)) == 1


async def test_a_job_is_followed_from_the_queue_to_the_wall(
    studio: Studio, gateway: Gateway, creator: AccountView, worker: MessageWorker
) -> None:
    sent = await gateway.submit(creator, RED)
    (waiting,) = await gateway.jobs(creator)
    assert (waiting.headline, waiting.ended, waiting.can_cancel) == ("In the queue", False, True)
    order = await worker.take(sent.id)
    await worker.step(order, 8, preview=2)
    (running,) = await gateway.jobs(creator)
    assert running.headline.startswith("Step 8 of ")
    assert running.preview_url.startswith(f"/media/{sent.id}/preview?v=")
    assert "You pay" in running.stop_cost
    await worker.finish(order)
    assert [job.headline for job in await gateway.jobs(creator)] == ["Checking the clip"]
    assert (await gateway.clips(creator)).clips == []
    held_back = await gateway.clip(creator, sent.id)
    assert held_back is not None
    assert (held_back.shown, held_back.video_url, held_back.poster_url) == (False, "", "")


async def test_a_finished_clip_hangs_on_the_wall_and_can_be_found_marked_and_deleted(
    studio: Studio, gateway: Gateway, creator: AccountView, worker: MessageWorker
) -> None:
    sent = await gateway.submit(creator, RED)
    await run_to_end(studio, worker, sent.id)
    assert await gateway.jobs(creator) == []
    (clip,) = (await gateway.clips(creator, search="circle")).clips
    assert (clip.id, clip.shown, clip.video_url) == (sent.id, True, f"/media/{sent.id}/video")
    assert (await gateway.clips(creator, search="triangle")).clips == []
    await gateway.set_favourite(creator, clip.id, True)
    await gateway.rate(creator, clip.id, 1)
    (marked,) = (await gateway.clips(creator, show="favourites")).clips
    assert (marked.favourite, marked.rating) == (True, 1)
    settings = await gateway.settings_of(creator, clip.id)
    assert settings is not None
    assert settings.prompt == RED.prompt
    assert settings.seed.isdecimal()
    page = await gateway.clip(creator, clip.id)
    assert page is not None
    assert {"Seed", "Steps", "Clip id"} <= {param.name for param in page.params}
    assert (page.receipt.charged, page.receipt.refunded, page.receipt.href) == (
        page.receipt.quoted,
        "0",
        f"/clips/{clip.id}",
    )
    assert [receipt.id for receipt in (await gateway.receipts(creator)).receipts] == [page.receipt.id]
    assert [(grant.what, grant.of) for grant in (await gateway.credits(creator)).grants] == [
        ("Granted", "100")
    ]
    assert await gateway.delete_clips(creator, [clip.id, "video_nowhere"]) == 1
    assert await gateway.clip(creator, clip.id) is None


async def test_somebody_elses_clip_is_not_there(
    studio: Studio, gateway: Gateway, creator: AccountView
) -> None:
    sent = await gateway.submit(creator, RED)
    other = await _come_in(studio, gateway, await make_creator(studio))
    assert await gateway.clip(other, sent.id) is None
    assert await gateway.settings_of(other, sent.id) is None
    assert await gateway.delete_clips(other, [sent.id]) == 0
    with pytest.raises(Refused):
        await gateway.cancel(other, sent.id)
    with pytest.raises(Refused):
        await gateway.retry(other, sent.id)


async def test_a_failure_says_why_costs_nothing_and_can_be_tried_again(
    gateway: Gateway, creator: AccountView, worker: MessageWorker
) -> None:
    sent = await gateway.submit(creator, RED)
    order = await worker.take(sent.id)
    await worker.fail(order, FailureCause.BAD_INPUT)
    (failed,) = await gateway.jobs(creator)
    assert (failed.ended, failed.went_wrong, failed.can_retry) == (True, True, True)
    assert "not charged" in failed.detail + failed.charge
    again = await gateway.retry(creator, sent.id)
    (waiting,) = await gateway.jobs(creator)
    assert (waiting.id, waiting.ended) == (again.id, False)
    assert again.id != sent.id


async def test_the_ledger_shows_what_changed_the_balance_and_no_holds(
    studio: Studio, gateway: Gateway, creator: AccountView, worker: MessageWorker
) -> None:
    first = await gateway.submit(creator, RED)
    await run_to_end(studio, worker, first.id)
    second = await gateway.submit(creator, RED)
    await gateway.cancel(creator, second.id)
    lines = (await gateway.ledger(creator)).entries
    assert [(line.what, line.incoming) for line in lines] == [
        (RED.prompt, False),
        ("Credits granted", True),
    ]
    charged = 100 - int(lines[0].balance)
    assert (lines[0].amount, lines[0].job_id, lines[1].balance) == (f"−{charged}", first.id, "100")
    assert charged > 0


async def test_the_ledger_goes_on_where_a_page_ended(
    studio: Studio, gateway: Gateway, creator: AccountView, worker: MessageWorker
) -> None:
    for _ in range(7):
        sent = await gateway.submit(
            creator, Draft(prompt="a star", model="mini", size="", seconds="", steps="4")
        )
        await run_to_end(studio, worker, sent.id)
    page = await gateway.ledger(creator)
    rest = await gateway.ledger(creator, cursor=page.cursor)
    assert (len(page.entries), len(rest.entries), rest.cursor) == (6, 2, "")
    assert int(page.entries[-1].balance) - int(page.entries[-1].amount.replace("−", "-")) == int(
        rest.entries[0].balance
    )
    assert rest.entries[-1].balance == "100"


async def test_a_key_is_made_shown_once_and_revoked(gateway: Gateway, creator: AccountView) -> None:
    key, secret = await gateway.create_key(
        creator, name="render farm", scopes=["videos:read"], expires_in_days=30
    )
    assert secret.startswith("sk-zt-")
    assert (key.scopes, key.live) == ("read only", True)
    assert secret not in repr(await gateway.keys(creator))
    await gateway.revoke_key(creator, key.id)
    (ended,) = await gateway.keys(creator)
    assert (ended.live, ended.state_label) == (False, "Revoked")
    with pytest.raises(Refused):
        await gateway.create_key(creator, name=" ", scopes=["videos:read"], expires_in_days=None)


async def test_a_moderator_takes_a_case_decides_and_takes_it_back(
    studio: Studio, gateway: Gateway, creator: AccountView, worker: MessageWorker
) -> None:
    sent = await gateway.submit(creator, RED)
    await worker.finish(await worker.take(sent.id))
    await moderate_generation(studio, sent.id, judge(Verdict.REVIEW))
    (held,) = (await gateway.clips(creator, show="review")).clips
    assert (held.id, held.shown) == (sent.id, False)
    with pytest.raises(NotAllowed):
        await gateway.cases(creator)
    moderator = await _come_in(studio, gateway, await make_creator(studio, role=Role.MODERATOR))
    (waiting,) = await gateway.cases(moderator)
    assert (waiting.video_url, waiting.prompt) == ("", RED.prompt)
    case = await gateway.take_case(moderator, waiting.id)
    assert case.video_url == f"/evidence/{waiting.id}/video"
    assert [(score.where, score.percent, score.threshold, score.over) for score in case.scores] == [
        ("Clip", 90, 50, True)
    ]
    other = await _come_in(studio, gateway, await make_creator(studio, role=Role.MODERATOR))
    with pytest.raises(Refused):
        await gateway.take_case(other, waiting.id)
    await gateway.decide(moderator, case.id, allow=True, note="fine")
    assert await gateway.cases(moderator) == []
    await gateway.undo_decision(moderator, case.id)
    await gateway.decide(moderator, case.id, allow=False, note="")
    (blocked,) = await gateway.jobs(creator)
    assert (blocked.headline, blocked.can_retry) == ("Not allowed here", False)
    assert "not charged" in blocked.detail + blocked.charge


async def test_a_watcher_hears_of_its_own_account(gateway: Gateway, creator: AccountView) -> None:
    watching: AbstractContextManager[object] = gateway.watch(creator)
    with watching, gateway.watch(creator) as changes:
        await changes.next(5)  # the first one: whatever happened before we listened
        await gateway.submit(creator, RED)
        assert await changes.next(5) is not None
