"""How fast clips are made, as the leader reads it: by recipe and size, by what is usual, not by a first slow clip."""

import pytest
from sqlalchemy import text

from backend.auth.principal import Principal
from backend.domain.pace import LATE, Pace
from backend.recipes import CATALOGUE
from backend.services.scheduling_state import FIRST_SPEEDS, Speeds, read_speeds
from backend.studio import Studio
from tests.integration.life_rig import MessageWorker, empty, make_creator, run_to_end, submit

BASE_S = CATALOGUE["mini"].cost.base_gpu_s


@pytest.fixture
async def creator(studio: Studio) -> Principal:
    await empty(studio.db)
    return await make_creator(studio, credits=10_000)


async def _made(
    studio: Studio,
    creator: Principal,
    times: float,
    *,
    steps: int = 16,
    around_s: float = BASE_S,
    load_s: float = 0.0,
    worker_id: str = "w1",
) -> str:
    """A clip whose steps took `times` as long as its recipe says, and all else `around_s`."""
    job = await submit(studio, creator, num_inference_steps=steps)
    await run_to_end(studio, MessageWorker(studio, worker_id=worker_id), job.id)
    async with studio.db.transaction() as session:
        await session.execute(
            text(
                """
                UPDATE attempts a SET started_at = a.ended_at - (s.steps_s + :around_s + :load_s) * interval '1 second',
                    timings = a.timings || jsonb_build_object('load_s', :load_s, 'denoise_s', s.steps_s)
                FROM jobs j, LATERAL (SELECT (j.gpu_s - CAST(:base_s AS float)) * CAST(:times AS float) AS steps_s) s
                WHERE j.id = a.job_id AND j.id = :id
                """.replace(":around_s", "CAST(:around_s AS float)").replace(
                    ":load_s", "CAST(:load_s AS float)"
                )
            ),
            {"times": times, "load_s": load_s, "around_s": around_s, "base_s": BASE_S, "id": job.id},
        )
    return job.id


def _mini(speeds: Speeds) -> Pace:
    size = CATALOGUE["mini"].sizes[0]
    frames = CATALOGUE["mini"].lengths[0].num_frames
    work = CATALOGUE["mini"].cost.gpu_s_per_mpxf_step * size.width * size.height * frames / 1e6
    return speeds.paces.of("mini", work)


async def test_a_first_slow_clip_does_not_set_the_pace(studio: Studio, creator: Principal) -> None:
    await _made(studio, creator, 20.0)
    assert _mini(await read_speeds(studio)).step == pytest.approx(1.0)


async def test_clips_that_waited_for_the_model_say_nothing_of_the_pace(
    studio: Studio, creator: Principal
) -> None:
    for _ in range(6):
        await _made(studio, creator, 20.0, load_s=15.0)
    assert (await read_speeds(studio)).paces.made == []


async def test_a_slow_machine_is_known_after_a_few_clips(studio: Studio, creator: Principal) -> None:
    for _ in range(6):
        await _made(studio, creator, 5.0)
    pace = _mini(await read_speeds(studio))
    assert pace.step == pytest.approx(5.0, rel=0.01)
    assert 1.0 <= pace.late <= LATE


async def test_steps_and_what_is_around_them_are_measured_apart(studio: Studio, creator: Principal) -> None:
    for steps in (4, 100, 400) * 2:
        await _made(studio, creator, 0.5, steps=steps, around_s=2.0)
    pace = _mini(await read_speeds(studio))
    assert (pace.step, pace.around_s) == (pytest.approx(0.5, rel=0.01), pytest.approx(2.0, rel=0.01))
    assert pace.seconds(BASE_S + 10.0) == pytest.approx(7.0, rel=0.01)


async def test_a_clip_whose_start_nobody_heard_of_says_nothing(studio: Studio, creator: Principal) -> None:
    for _ in range(6):
        await _made(studio, creator, 5.0)
    async with studio.db.transaction() as session:
        await session.execute(text("UPDATE attempts SET started_at = NULL"))
        await session.execute(text("UPDATE jobs SET rendered_at = NULL"))
    assert await read_speeds(studio) == Speeds(
        paces=FIRST_SPEEDS.paces.__class__([]),
        after_p50_s=FIRST_SPEEDS.after_p50_s,
        after_p90_s=FIRST_SPEEDS.after_p90_s,
    )


async def test_a_clip_of_another_revision_of_its_recipe_says_nothing(
    studio: Studio, creator: Principal
) -> None:
    job_id = await _made(studio, creator, 5.0)
    assert len((await read_speeds(studio)).paces.made) == 1
    async with studio.db.transaction() as session:
        await session.execute(
            text("UPDATE jobs SET recipe_revision = 'older' WHERE id = :id"), {"id": job_id}
        )
    assert (await read_speeds(studio)).paces.made == []


async def test_a_busy_worker_does_not_push_out_what_a_seldom_used_one_took(
    studio: Studio, creator: Principal
) -> None:
    await _made(studio, creator, 2.0, worker_id="seldom")
    job_id = await _made(studio, creator, 1.0, worker_id="busy")
    async with studio.db.transaction() as session:
        await session.execute(
            text(
                "INSERT INTO attempts (id, job_id, number, fence, worker_id, slot, state, started_at, ended_at,"
                " lease_expires_at, timings) SELECT 'more' || n, job_id, 1 + n, fence + n, worker_id, slot, state,"
                " started_at, ended_at + interval '1 second', lease_expires_at, timings"
                " FROM attempts, generate_series(1, 500) n WHERE job_id = :id"
            ),
            {"id": job_id},
        )
    paces = (await read_speeds(studio)).paces
    assert len(paces.made) == 61
    assert paces.made[-1].steps_s == pytest.approx(2 * paces.made[0].steps_s)
