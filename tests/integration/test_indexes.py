"""What is read every few seconds reads an index, and asks as often for fifty as for one."""

import pytest
from sqlalchemy import event, text

from backend.auth.principal import Principal, Role
from backend.services.review_cases import list_cases
from backend.services.scheduling_state import read_speeds
from backend.studio import Studio
from tests.integration.life_rig import MessageWorker, make_creator, submit

Asked = list[tuple[str, tuple[object, ...]]]


@pytest.fixture
def asked(studio: Studio) -> Asked:
    """All that the database was asked since."""
    found: Asked = []

    def note(_c: object, _cursor: object, sql: str, values: tuple[object, ...], *_rest: object) -> None:
        found.append((sql, values))

    event.listen(studio.db.engine.sync_engine, "before_cursor_execute", note)
    return found


async def fill(studio: Studio, creator: Principal, *, cases: str) -> None:
    """Thousands of jobs that are done, each with its attempt and a case in that state."""
    job_id = (await submit(studio, creator)).id
    async with studio.db.transaction() as session:
        for statement in (
            "CREATE TEMP TABLE copies ON COMMIT DROP AS SELECT j.* FROM jobs j, generate_series(1, 4000)"
            f" WHERE j.id = '{job_id}'",
            "UPDATE copies SET id = 'copy_' || ctid::text, state = 'completed', created_at = now(),"
            " rendered_at = now(), ended_at = now() - random() * interval '1 day'",
            "INSERT INTO jobs SELECT * FROM copies",
            "INSERT INTO attempts (id, job_id, number, fence, worker_id, slot, state, started_at, ended_at,"
            " lease_expires_at) SELECT 'at_' || id, id, 1, 1, 'w1', 'run', 'done', ended_at, ended_at, now()"
            " FROM copies",
            "INSERT INTO review_cases (id, job_id, stage, state)"
            f" SELECT 'case_' || id, id, 'output', '{cases}' FROM copies",
        ):
            await session.execute(text(statement))
    async with studio.db.transaction() as session:
        await session.execute(text("ANALYZE jobs, attempts, review_cases"))


async def plan(studio: Studio, sql: str, values: tuple[object, ...]) -> str:
    async with studio.db.engine.connect() as connection:
        rows = await connection.exec_driver_sql(f"EXPLAIN {sql}", values)
        return "\n".join(row[0] for row in rows)


@pytest.mark.unbalanced
async def test_measured_speeds_are_read_from_the_newest_end_of_an_index(studio: Studio, asked: Asked) -> None:
    await fill(studio, await make_creator(studio), cases="effective")
    await MessageWorker(studio).beat()
    asked.clear()
    await read_speeds(studio)
    plans = [await plan(studio, sql, values) for sql, values in list(asked) if "ended_at DESC" in sql]
    assert "Index Scan using attempts_ended" in plans[0]
    assert "Index Scan using jobs_pkey" in plans[0]
    assert "Index Scan using jobs_completed" in plans[1]
    assert not any("Seq Scan on jobs" in found or "Seq Scan on attempts" in found for found in plans)


@pytest.mark.unbalanced
async def test_open_cases_are_listed_from_an_index_of_theirs(studio: Studio, asked: Asked) -> None:
    moderator = await make_creator(studio, role=Role.MODERATOR)
    await fill(studio, await make_creator(studio), cases="effective")
    asked.clear()
    assert await list_cases(studio, moderator) == []
    sql, values = next(each for each in asked if "LIMIT" in each[0] and "review_cases" in each[0])
    assert "review_cases_listed" in await plan(studio, sql, values)


@pytest.mark.unbalanced
async def test_fifty_cases_are_read_in_as_many_queries_as_one(studio: Studio, asked: Asked) -> None:
    moderator = await make_creator(studio, role=Role.MODERATOR)
    creator = await make_creator(studio)
    await fill(studio, creator, cases="open")
    asks = []
    for limit in (1, 50):
        asked.clear()
        found = await list_cases(studio, moderator, limit=limit)
        assert len(found) == limit
        asks.append(len(asked))
    assert asks[0] == asks[1]
    async with studio.db.transaction() as session:
        await session.execute(
            text(
                "INSERT INTO verdicts (id, job_id, stage, surface, sha256, verdict, findings, policy_version)"
                " VALUES (:id, :job, :stage, 'video', '', 'review', CAST(:said AS jsonb), 'p')"
            ),
            [
                {"id": "v1", "job": found[0].job_id, "stage": "output", "said": '{"of": "first"}'},
                {"id": "v2", "job": found[1].job_id, "stage": "output", "said": '{"of": "second"}'},
                {"id": "v3", "job": found[1].job_id, "stage": "input", "said": '{"of": "another stage"}'},
            ],
        )
    again = await list_cases(studio, moderator, limit=3)
    assert [case.findings for case in again] == [({"of": "first"},), ({"of": "second"},), ()]
