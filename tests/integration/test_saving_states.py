"""A job's state is saved only if nobody was first: the update is conditional, and whoever comes second stops."""

import pytest
from sqlalchemy import text

from backend.db.models import Job
from backend.db.repositories import jobs
from backend.domain.generation import JobEvent, JobState
from backend.studio import Studio
from tests.integration.life_rig import make_creator, submit


async def as_read(studio: Studio) -> Job:
    """A waiting job as somebody read it a while ago."""
    job = await submit(studio, await make_creator(studio))
    async with studio.db.reading() as session:
        row = await session.get(Job, job.id)
    assert row is not None
    return row


async def change(studio: Studio, assignments: str) -> None:
    async with studio.db.transaction() as session:
        await session.execute(text(f"UPDATE jobs SET {assignments}"))


async def saved(studio: Studio) -> tuple[str, int, int]:
    async with studio.db.reading() as session:
        found = await session.execute(text("SELECT state, version, fence FROM jobs"))
        state, version, fence = found.one()
        return state, version, fence


async def dispatch(studio: Studio, stale: Job) -> bool:
    async with studio.db.transaction() as session:
        mine = await session.merge(stale, load=False)
        return await jobs.move(session, mine, JobEvent.DISPATCHED, fence=9)


async def test_a_state_that_nobody_touched_is_saved_with_the_next_version(studio: Studio) -> None:
    job = await as_read(studio)
    assert await dispatch(studio, job)
    assert await saved(studio) == ("assigned", job.version + 1, 9)


@pytest.mark.parametrize(
    "meanwhile",
    [
        pytest.param("state = 'cancelled', version = version + 1", id="somebody was first"),
        pytest.param("version = version + 2", id="it went and came back"),
        pytest.param("state = 'cancelled'", id="only the state tells"),
    ],
)
@pytest.mark.unbalanced
async def test_whoever_comes_second_changes_nothing_and_is_told(studio: Studio, meanwhile: str) -> None:
    job = await as_read(studio)
    await change(studio, meanwhile)
    before = await saved(studio)
    assert not await dispatch(studio, job)
    assert await saved(studio) == before


async def test_what_can_not_happen_in_a_state_is_not_saved(studio: Studio) -> None:
    job = await as_read(studio)
    async with studio.db.transaction() as session:
        mine = await session.merge(job, load=False)
        assert not await jobs.move(session, mine, JobEvent.PUBLISHED)
    assert await saved(studio) == (JobState.QUEUED, job.version, 0)
