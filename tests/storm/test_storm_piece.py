"""Three quarters of a minute of storm over a whole studio; `make storm` is the long one."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import short_folder
from tests.storm.main import Storm
from tests.storm.plan import Kind

SEED = 7
DURATION_S = 50.0
KINDS = (
    Kind.KILL_LEADER,
    Kind.KILL_BACKEND,
    Kind.KILL_POSTMASTER,
    Kind.KILL_VALKEY,
    Kind.KILL_WORKER,
    Kind.KILL_WEB,
    Kind.FLUSHALL,
    Kind.DISK_FULL,
    Kind.TORN_PUT,
    Kind.TORN_FORM,
)
"""What can be dealt and got over in so short a time: outages longer than a lease are for the long one."""


@pytest.fixture
def folder() -> Iterator[Path]:
    with short_folder() as made:
        yield made


@pytest.mark.timeout(1500)
def test_fifty_seconds_of_storm_break_nothing(folder: Path) -> None:
    said: list[str] = []
    report = Storm(
        folder=folder / "data",
        seed=SEED,
        duration_s=DURATION_S,
        kinds=KINDS,
        calm_at_last_s=300.0,
        say=said.append,
    ).run()
    if report.calm_s is None and report.still_s > 60:
        # It was never calm, so that nothing can be compared: no verdict, for or against.
        pytest.skip(f"this machine had no time for {report.still_s:.0f} s of it")
    assert report.violations == [], "\n".join([*said[-60:], report.text()])
    assert set(report.recoveries) == {kind.value for kind in KINDS}
    acknowledged = [job_id for asked in report.memory.asked for job_id in asked.answered_with]
    assert len(acknowledged) >= 5
    assert report.states["completed"] >= 1
    assert report.memory.peeks > 0
