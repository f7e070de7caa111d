"""The pool of connections to Postgres, when Postgres ends some of them."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import text

from backend.db.engine import Database


async def connections_of(db: Database, count: int) -> list[Any]:
    """So many pooled connections, all used at once and given back; as asyncpg knows them."""
    held = [db.engine.connect() for _ in range(count)]
    opened = [await connection.start() for connection in held]
    drivers = [(await connection.get_raw_connection()).driver_connection for connection in opened]
    for connection in opened:
        await connection.close()
    return drivers


async def answers(db: Database) -> int:
    async with db.transaction() as session:
        return int((await session.execute(text("SELECT pg_backend_pid()"))).scalar_one())


async def test_connections_that_postgres_ended_are_replaced_before_they_are_used(pg_url: str) -> None:
    db, other = Database(pg_url), Database(pg_url)
    try:
        drivers = await connections_of(db, 3)
        ended = {driver.get_server_pid() for driver in drivers}
        async with other.transaction() as session:
            for pid in ended:
                await session.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
        async with asyncio.timeout(20):
            while not all(driver.is_closed() for driver in drivers):
                await asyncio.sleep(0.005)
        pids = await asyncio.gather(*(answers(db) for _ in range(3)))
        assert not ended & set(pids)
    finally:
        await db.close()
        await other.close()


async def test_a_single_statement_is_committed_at_once_and_leaves_transactions_as_they_are(
    pg_url: str,
) -> None:
    db, other = Database(pg_url, pool_size=1), Database(pg_url)

    async def count() -> int:
        async with other.reading() as session:
            return int((await session.execute(text("SELECT count(*) FROM once"))).scalar_one())

    async def fail_in_a_transaction() -> None:
        async with db.transaction() as session:
            await session.execute(text("INSERT INTO once VALUES (2)"))
            raise RuntimeError

    try:
        async with db.single() as session:
            await session.execute(text("CREATE TABLE once (n int)"))
        async with db.single() as session:
            await session.execute(text("INSERT INTO once VALUES (1)"))
            assert await count() == 1
        with pytest.raises(RuntimeError):
            await fail_in_a_transaction()
        assert await count() == 1
    finally:
        await db.close()
        await other.close()


async def test_a_connection_that_lives_is_used_again(pg_url: str) -> None:
    db = Database(pg_url)
    try:
        assert await answers(db) == await answers(db)
    finally:
        await db.close()


@pytest.mark.parametrize("host", ["/nowhere/run", "127.0.0.1:1"], ids=["no socket", "nobody listens"])
async def test_a_server_that_is_not_there_is_a_connection_error(host: str) -> None:
    url = (
        f"postgresql://zoetrope@/zoetrope?host={host}"
        if host.startswith("/")
        else f"postgresql://zoetrope@{host}/zoetrope"
    )
    db = Database(url)
    try:
        with pytest.raises(ConnectionError):
            await db.ping()
    finally:
        await db.close()


async def test_a_server_that_does_not_answer_in_time_is_a_connection_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def never(*_values: object, **_named: object) -> None:
        raise TimeoutError

    monkeypatch.setattr("asyncpg.connect", never)
    db = Database("postgresql://zoetrope@127.0.0.1:1/zoetrope")
    try:
        with pytest.raises(ConnectionError):
            await db.ping()
    finally:
        await db.close()
