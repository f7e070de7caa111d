"""The rig of the other tests notices storage and Valkey inside a transaction; so they show it of every use case."""

import asyncio

import pytest

from backend.studio import Studio
from tests.integration.outside_transactions import CalledInsideTransaction


@pytest.mark.parametrize("opened", ["transaction", "single", "reading"])
async def test_each_adapter_is_refused_inside_a_transaction_and_works_outside(
    studio: Studio, opened: str
) -> None:
    calls = {
        "storage": lambda: studio.storage.put_bytes("a", b"x"),
        "wakeups": lambda: studio.wakeups.account_changed("a", "b"),
        "redis": lambda: studio.wakeups.redis.get("a"),
    }
    for name, call in calls.items():
        await call()
        async with getattr(studio.db, opened)():
            with pytest.raises(CalledInsideTransaction, match=name):
                await call()
        await call()


async def test_a_task_started_inside_a_transaction_counts_as_inside(studio: Studio) -> None:
    async def put() -> None:
        await studio.storage.put_bytes("a", b"x")

    async with studio.db.transaction():
        with pytest.raises(CalledInsideTransaction):
            await asyncio.gather(put())
