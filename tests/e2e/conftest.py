"""One studio for the tests that only use it; those that hurt one start their own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.running_studio import RunningStudio


@pytest.fixture(scope="session")
def shared_studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStudio]:
    """A running studio with everything real: the mini model, the mini CLIP, Postgres, Valkey."""
    folder = tmp_path_factory.mktemp("studio")
    studio = RunningStudio(folder / "data")
    studio.start()
    yield studio
    studio.stop()


@pytest.fixture
def own_studio(tmp_path: Path) -> Iterator[RunningStudio]:
    """A running studio that this test may hurt."""
    studio = RunningStudio(tmp_path / "data")
    studio.start()
    yield studio
    if studio.process is not None and studio.process.poll() is None:
        studio.stop()
