"""A studio on real Postgres, real Valkey and a folder, for tests of use cases and routes."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from backend.clock import SystemClock
from backend.db.engine import Database
from backend.settings import Settings
from backend.storage import open_storage
from backend.studio import Studio
from backend.wakeups import Wakeups, connect
from tests.integration.worker_rig import control, server, valkey_process

__all__ = ["control", "server", "studio", "valkey_process"]


@pytest.fixture
async def studio(db: Database, valkey_url: str, tmp_path: Path) -> AsyncIterator[Studio]:
    """Use cases run on this; the module's database, so make people of your own."""
    settings = Settings(
        data_dir=tmp_path / "data", database_url=db.url, redis_url=valkey_url, public_url="http://studio.test"
    )
    made = Studio(
        settings=settings,
        db=db,
        storage=open_storage(settings),
        wakeups=Wakeups(connect(valkey_url)),
        clock=SystemClock(),
    )
    yield made
    await made.wakeups.close()
    await made.storage.close()
