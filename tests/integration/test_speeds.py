"""How fast clips are made, as the leader reads it: by what is usual, not by a first slow clip."""

import pytest
from sqlalchemy import text

from backend.auth.principal import Principal
from backend.services.scheduling_state import FIRST_SPEEDS, read_speeds
from backend.studio import Studio
from tests.integration.life_rig import MessageWorker, empty, make_creator, run_to_end, submit


@pytest.fixture
async def creator(studio: Studio) -> Principal:
    await empty(studio.db)
    return await make_creator(studio)


async def _made(studio: Studio, creator: Principal, times: float, *, load_s: float = 0.0) -> None:
    """A clip that took `times` as long as its recipe expects."""
    job = await submit(studio, creator)
    await run_to_end(studio, MessageWorker(studio, worker_id=job.id), job.id)
    async with studio.db.transaction() as session:
        await session.execute(
            text(
                """
                UPDATE attempts a SET started_at = a.ended_at - j.gpu_s * CAST(:times AS float) * interval '1 second',
                    timings = a.timings || jsonb_build_object('load_s', CAST(:load_s AS float))
                FROM jobs j WHERE j.id = a.job_id AND j.id = :id
                """
            ),
            {"times": times, "load_s": load_s, "id": job.id},
        )


async def test_a_first_slow_clip_does_not_set_the_pace(studio: Studio, creator: Principal) -> None:
    await _made(studio, creator, 20.0)
    assert (await read_speeds(studio)).p50 < 1.5 * FIRST_SPEEDS.p50


async def test_clips_that_waited_for_the_model_say_nothing_of_the_pace(
    studio: Studio, creator: Principal
) -> None:
    for _ in range(6):
        await _made(studio, creator, 20.0, load_s=15.0)
    speeds = await read_speeds(studio)
    assert (speeds.p50, speeds.p90) == pytest.approx((FIRST_SPEEDS.p50, FIRST_SPEEDS.p90))


async def test_a_slow_machine_is_known_after_a_few_clips(studio: Studio, creator: Principal) -> None:
    for _ in range(6):
        await _made(studio, creator, 5.0)
    speeds = await read_speeds(studio)
    assert speeds.p50 == pytest.approx(5.0, rel=0.01)
    assert speeds.p90 >= speeds.p50


async def test_a_clip_whose_start_nobody_heard_of_says_nothing(studio: Studio, creator: Principal) -> None:
    job = await submit(studio, creator)
    await run_to_end(studio, MessageWorker(studio), job.id)
    async with studio.db.transaction() as session:
        await session.execute(text("UPDATE attempts SET started_at = NULL"))
        await session.execute(text("UPDATE jobs SET rendered_at = NULL"))
    assert (await read_speeds(studio)).p50 == pytest.approx(FIRST_SPEEDS.p50)
