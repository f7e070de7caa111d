"""Images that creators give: kept in their format, bounded by account, and swept when no job needs them."""

import asyncio
import io
import threading
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from PIL import Image
from sqlalchemy import text

from backend.auth.principal import Principal
from backend.domain.errors import InvalidField, QuotaExhausted, RateLimited
from backend.services import accept_upload as accepting
from backend.services.accept_upload import UploadView, accept_upload
from backend.services.cancel_generation import cancel_generation
from backend.services.delete_generation import delete_generation
from backend.services.generation_request import ConditioningRequest
from backend.services.image_places import AN_ACCOUNT, LEAST_COST_S, ImagePlaces
from backend.services.screen_input import screen_input
from backend.services.sweep_uploads import sweep_uploads
from backend.storage import ObjectNotFound, StorageUnavailable
from backend.storage.local import LocalStorage
from backend.studio import Studio
from jobs.expire import expire_once
from moderation.images import CleanImage, clean_image
from moderation.verdict import Ruling, Verdict
from tests.integration.life_rig import (
    MessageWorker,
    make_creator,
    run_to_end,
    submit,
)

DAY = timedelta(days=1, minutes=1)


@pytest.fixture
async def creator(studio: Studio) -> Principal:
    return await make_creator(studio, credits=1000)


def picture(kind: str = "PNG", shade: int = 0, size: tuple[int, int] = (64, 48), **options: object) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, (shade, 30, 30)).save(out, kind, **options)  # type: ignore[arg-type]  # Pillow's options
    return out.getvalue()


async def give_bytes(studio: Studio, creator: Principal, data: bytes) -> UploadView:
    async def read() -> bytes:
        return data

    return await accept_upload(studio, creator, read)


async def give(studio: Studio, creator: Principal, shade: int = 0) -> UploadView:
    return await give_bytes(studio, creator, picture(shade=shade))


async def send(studio: Studio, creator: Principal, upload: UploadView) -> str:
    return (await submit(studio, creator, conditioning=(ConditioningRequest(upload_id=upload.id),))).id


async def sql(studio: Studio, statement: str, **values: object) -> list[tuple[object, ...]]:
    async with studio.db.transaction() as session:
        result = await session.execute(text(statement), values)
        return [tuple(row) for row in result] if result.returns_rows else []


async def pass_time(studio: Studio, passed: timedelta) -> None:
    """As if everything had happened so much earlier."""
    await sql(studio, "UPDATE uploads SET touched_at = touched_at - CAST(:passed AS interval)", passed=passed)
    await sql(studio, "UPDATE jobs SET ended_at = ended_at - CAST(:passed AS interval)", passed=passed)


async def stored(studio: Studio) -> set[str]:
    return {info.key async for info in studio.storage.list_objects("uploads/")}


async def sweep(studio: Studio) -> None:
    while await sweep_uploads(studio):
        pass


@pytest.mark.parametrize(
    ("kind", "ending", "start"),
    [("PNG", "png", b"\x89PNG"), ("JPEG", "jpg", b"\xff\xd8"), ("WEBP", "webp", b"RIFF")],
)
async def test_an_image_is_kept_in_its_format(
    studio: Studio, creator: Principal, kind: str, ending: str, start: bytes
) -> None:
    given = await give_bytes(studio, creator, picture(kind))
    (key,) = await stored(studio)
    assert key == f"uploads/{creator.account_id}/{given.id}.{ending}"
    assert (await studio.storage.get_bytes(key, limit_bytes=2**20)).startswith(start)
    assert given.content_type == f"image/{kind.lower()}"


async def test_a_photograph_does_not_grow(studio: Studio, creator: Principal) -> None:
    out = io.BytesIO()
    Image.effect_noise((1600, 1200), 60).convert("RGB").save(out, "JPEG", quality=90)
    given = await give_bytes(studio, creator, out.getvalue())
    assert given.size_bytes < 2 * len(out.getvalue())


async def test_the_same_image_again_is_the_same_upload(studio: Studio, creator: Principal) -> None:
    assert (await give(studio, creator)).id == (await give(studio, creator)).id
    assert len(await stored(studio)) == 1


async def test_what_no_job_names_goes_after_a_day(studio: Studio, creator: Principal) -> None:
    given = await give(studio, creator)
    await sweep(studio)
    assert len(await stored(studio)) == 1
    await pass_time(studio, DAY)
    await expire_once(studio)
    assert await stored(studio) == set()
    assert await sql(studio, "SELECT id FROM uploads") == []
    with pytest.raises(InvalidField, match="no longer kept"):
        await send(studio, creator, given)


async def test_what_was_given_or_named_again_has_another_day(studio: Studio, creator: Principal) -> None:
    given = await give(studio, creator)
    await pass_time(studio, DAY)
    await give(studio, creator)
    await sweep(studio)
    await pass_time(studio, DAY)
    await cancel_generation(studio, creator, await send(studio, creator, given))
    await sweep(studio)
    assert len(await stored(studio)) == 1


async def test_a_job_keeps_its_image_as_long_as_its_clip_is_kept(studio: Studio, creator: Principal) -> None:
    given = await give(studio, creator)
    job_id = await send(studio, creator, given)
    await pass_time(studio, DAY)
    await sweep(studio)
    assert len(await stored(studio)) == 1, "it waits"
    await screen_input(studio, job_id, lambda _data: _ruling(Verdict.ALLOW))
    await run_to_end(studio, MessageWorker(studio), job_id)
    await pass_time(studio, 10 * DAY)
    await sweep(studio)
    assert len(await stored(studio)) == 1, "its clip is there"
    await delete_generation(studio, creator, job_id)
    await pass_time(studio, DAY)
    await sweep(studio)
    assert await stored(studio) == set()
    assert await sql(studio, "SELECT state FROM uploads") == [("swept",)], "a verdict was given on it"


async def test_a_job_that_failed_keeps_its_image_for_another_try(studio: Studio, creator: Principal) -> None:
    job_id = await send(studio, creator, await give(studio, creator))
    await pass_time(studio, 3 * DAY)
    await cancel_generation(studio, creator, job_id)
    await sweep(studio)
    assert len(await stored(studio)) == 1
    await pass_time(studio, 2 * DAY)
    await sweep(studio)
    assert await stored(studio) == set()


async def test_what_was_blocked_keeps_its_image_as_evidence(studio: Studio, creator: Principal) -> None:
    job_id = await send(studio, creator, await give(studio, creator))
    await screen_input(studio, job_id, lambda _data: _ruling(Verdict.BLOCK))
    await delete_generation(studio, creator, job_id)
    await pass_time(studio, studio.settings.evidence_kept - DAY)
    await sweep(studio)
    assert len(await stored(studio)) == 1
    await pass_time(studio, 2 * DAY)
    await sweep(studio)
    assert await stored(studio) == set()


async def test_images_in_use_never_keep_the_others_from_their_turn(
    studio: Studio, creator: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backend.services.sweep_uploads.BATCH", 2)
    for shade in range(4):
        await send(studio, creator, await give(studio, creator, shade))
    await pass_time(studio, DAY)
    await give(studio, creator, 9)
    await pass_time(studio, DAY)
    await sweep(studio)
    assert len(await stored(studio)) == 4


@pytest.mark.unbalanced
async def test_a_submission_and_the_sweep_at_once_leave_no_job_without_its_image(
    studio: Studio, creator: Principal
) -> None:
    for shade in range(8):
        given = await give(studio, creator, shade)
        await pass_time(studio, DAY)
        sent, _swept = await asyncio.gather(
            send(studio, creator, given), sweep(studio), return_exceptions=True
        )
        there = bool(await stored(studio))
        assert there if isinstance(sent, str) else isinstance(sent, InvalidField)
        await sql(studio, "TRUNCATE jobs, uploads CASCADE")
        for key in await stored(studio):
            await studio.storage.delete(key)


async def test_an_account_has_a_quota_of_images_that_it_does_not_use(
    studio: Studio, creator: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = (await give(studio, creator)).size_bytes
    monkeypatch.setattr(accepting, "MAX_UNUSED_BYTES", 3 * size + 5)
    answers = await asyncio.gather(
        *(give(studio, creator, shade) for shade in range(1, 1 + AN_ACCOUNT)), return_exceptions=True
    )
    taken = [answer for answer in answers if isinstance(answer, UploadView)]
    assert [type(a) for a in answers if a not in taken] == [QuotaExhausted] * (AN_ACCOUNT - 2)
    assert len(await stored(studio)) == 3
    await send(studio, creator, taken[0])
    assert await give(studio, creator, 100), "what a job uses does not count"
    other = await make_creator(studio)
    assert await give(studio, other, 1)


async def test_an_upload_that_cannot_be_stored_leaves_nothing_that_can_be_named(
    studio: Studio, creator: Principal, tmp_path: Path
) -> None:
    class Full(LocalStorage):
        async def put_bytes(self, key: str, data: bytes, *, content_type: str | None = None) -> None:
            raise StorageUnavailable(key)

    full = replace(studio, storage=Full(tmp_path / "full", secret=b"s" * 32, worker_url="http://studio"))
    with pytest.raises(StorageUnavailable):
        await give(full, creator)
    assert await sql(studio, "SELECT state FROM uploads") == [("removed",)]
    await sweep(studio)
    assert await sql(studio, "SELECT state FROM uploads") == []
    assert (await give(studio, creator)).id


async def test_a_sweep_that_was_cut_off_goes_on_the_next_time(
    studio: Studio, creator: Principal, tmp_path: Path
) -> None:
    await give(studio, creator)
    await pass_time(studio, DAY)

    class Away(LocalStorage):
        async def delete(self, key: str) -> None:
            raise StorageUnavailable(key)

    away = replace(studio, storage=Away(tmp_path / "away", secret=b"s" * 32, worker_url="http://studio"))
    with pytest.raises(StorageUnavailable):
        await sweep(away)
    (key,) = await stored(studio)
    await sweep(studio)
    with pytest.raises(ObjectNotFound):
        await studio.storage.head(key)


def _ruling(verdict: Verdict) -> Ruling:
    return Ruling(verdict=verdict, findings=(), policy_version="test", classifier="test")


async def test_what_one_account_sends_at_once_waits_unread_and_holds_up_nobody_else(
    studio: Studio, creator: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    costly, decoded, may_end = picture(shade=1), threading.Event(), threading.Event()
    read: list[int] = []

    def slow(data: bytes, **options: object) -> CleanImage:
        if data == costly:
            decoded.set()
            assert may_end.wait(20)
        return clean_image(data, **options)  # type: ignore[arg-type]  # as they came

    monkeypatch.setattr(accepting, "clean_image", slow)

    async def send_costly(number: int) -> UploadView:
        async def reading() -> bytes:
            read.append(number)
            return costly

        return await accept_upload(studio, creator, reading)

    sent = [asyncio.create_task(send_costly(number)) for number in range(AN_ACCOUNT + 3)]
    try:
        assert await asyncio.to_thread(decoded.wait, 20)
        done, waiting = await asyncio.wait(sent, timeout=20, return_when=asyncio.FIRST_COMPLETED)
        while len(done) < 3:
            more, waiting = await asyncio.wait(waiting, timeout=20, return_when=asyncio.FIRST_COMPLETED)
            assert more
            done |= more
        assert [type(task.exception()) for task in done] == [RateLimited] * 3
        other = await make_creator(studio)
        async with asyncio.timeout(20):
            assert (await give(studio, other)).id
        assert len(read) == 1, "the others lie where they came in"
    finally:
        may_end.set()
        await asyncio.gather(*sent, return_exceptions=True)
    assert len({task.result().id for task in waiting}) == 1


async def test_refused_images_count_too(
    studio: Studio, creator: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = ImagePlaces(budget_s=3.5 * LEAST_COST_S)
    monkeypatch.setattr(accepting, "image_places", lambda: places)
    refusals = []
    for _ in range(6):
        with pytest.raises((InvalidField, RateLimited)) as refused:
            await give_bytes(studio, creator, b"no image")
        refusals.append(type(refused.value))
    assert refusals == [InvalidField] * 4 + [RateLimited] * 2
