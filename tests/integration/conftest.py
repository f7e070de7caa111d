"""A studio on real Postgres, real Valkey and a folder, for tests of use cases and routes."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from backend.db.engine import Database
from backend.studio import Studio
from tests.integration.life_rig import MessageWorker, empty, ledger_is_sound, open_test_studio
from tests.integration.worker_rig import control, server, valkey_process

__all__ = ["control", "server", "studio", "valkey_process", "worker"]


@pytest.fixture
async def studio(
    db: Database, valkey_url: str, tmp_path: Path, request: pytest.FixtureRequest
) -> AsyncIterator[Studio]:
    """Nobody and nothing in it at first; whatever a test does, its ledger must agree with its jobs at the end.

    Unless it is marked `unbalanced`: it wrote jobs past the use cases, which nobody holds credits for.
    """
    await empty(db)
    made = open_test_studio(db, valkey_url, tmp_path)
    yield made
    if request.node.get_closest_marker("unbalanced") is None:
        await ledger_is_sound(made)
    await made.wakeups.close()
    await made.storage.close()


@pytest.fixture
def worker(studio: Studio) -> MessageWorker:
    """A worker that is nothing but its messages."""
    return MessageWorker(studio)
