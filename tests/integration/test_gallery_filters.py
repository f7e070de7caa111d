"""What the gallery filters by is answered by the database, page by page; and a submission waits for nobody."""

from dataclasses import replace

import pytest
from sqlalchemy import event, text

from backend.services.list_generations import StateFilter, list_generations
from backend.studio import Studio
from backend.wakeups import Wakeups
from tests.integration.life_rig import make_creator, submit


async def _copy(studio: Studio, job_id: str, count: int, **values: str) -> None:
    """So many more jobs like this one, newer than it, with other values."""
    names = (
        "account_id",
        "user_id",
        "tier",
        "recipe",
        "recipe_revision",
        "prompt",
        "seconds",
        "spec",
        "gpu_s",
    )
    same = ", ".join(("quoted", "steps", *names))
    other = "".join(f", '{value}'" for value in values.values())
    async with studio.db.transaction() as session:
        await session.execute(
            text(
                f"INSERT INTO jobs (id, created_at, {same}{''.join(f', {name}' for name in values)})"
                f" SELECT id || '-' || n || :mark, created_at + make_interval(secs => n), {same}{other}"
                " FROM jobs, generate_series(1, :count) n WHERE id = :id"
            ),
            {"id": job_id, "count": count, "mark": "".join(values.values())},
        )


@pytest.mark.unbalanced
async def test_what_is_in_review_is_found_behind_any_number_of_other_jobs(studio: Studio) -> None:
    creator = await make_creator(studio)
    first = (await submit(studio, creator)).id
    await _copy(studio, first, 5, state="in_review")
    await _copy(studio, first, 3, state="queued", input_verdict="review")
    await _copy(studio, first, 150, state="running")
    seen: list[str] = []
    after = None
    while True:
        page = await list_generations(
            studio, creator, after=after, limit=3, states=StateFilter.IN_REVIEW, with_place=False
        )
        seen += [job.id for job in page.items]
        assert len(page.items) == 3 or not page.has_more
        if not page.has_more:
            break
        after = page.items[-1].id
    assert len(seen) == len(set(seen)) == 8
    assert not any("running" in found for found in seen)


@pytest.mark.unbalanced
async def test_everything_that_is_not_being_made_fills_its_pages(studio: Studio) -> None:
    creator = await make_creator(studio)
    first = (await submit(studio, creator)).id
    for state in ("completed", "in_review", "failed"):
        await _copy(studio, first, 2, state=state)
    await _copy(studio, first, 150, state="running")
    page = await list_generations(studio, creator, limit=10, states=StateFilter.SETTLED, with_place=False)
    assert (len(page.items), page.has_more) == (6, False)


@pytest.mark.unbalanced
async def test_the_review_filter_reads_its_own_index(studio: Studio) -> None:
    creator = await make_creator(studio)
    first = (await submit(studio, creator)).id
    await _copy(studio, first, 5, state="in_review")
    await _copy(studio, first, 3000, state="running")
    asked: list[tuple[str, tuple[object, ...]]] = []

    def note(_c: object, _cursor: object, sql: str, values: tuple[object, ...], *_rest: object) -> None:
        asked.append((sql, values))

    async with studio.db.transaction() as session:
        await session.execute(text("ANALYZE jobs"))
    event.listen(studio.db.engine.sync_engine, "before_cursor_execute", note)
    await list_generations(studio, creator, states=StateFilter.IN_REVIEW, with_place=False)
    sql, values = asked[0]
    async with studio.db.engine.connect() as connection:
        plan = [row[0] for row in await connection.exec_driver_sql(f"EXPLAIN {sql}", values)]
    assert "Index Scan using jobs_in_review" in "".join(plan)


class AskedTooMuch(Wakeups):
    """A leader that nobody should ask."""

    async def ask_leader(self, question: dict[str, object]) -> dict[str, object] | None:
        raise AssertionError(f"asked the leader {question}")


async def test_a_submission_asks_the_leader_nothing(studio: Studio) -> None:
    creator = await make_creator(studio)
    quiet = replace(studio, wakeups=AskedTooMuch(studio.wakeups.redis))
    assert (await submit(quiet, creator)).place is None
