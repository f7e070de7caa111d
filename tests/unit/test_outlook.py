"""What the leader says of a job's wait."""

import pytest

from backend.domain.scheduling import FairQueue, QueuedJob
from backend.domain.shares import TierShare
from backend.services.scheduling_state import FIRST_SPEEDS
from jobs.fleet import Fleet, FleetWorker
from jobs.outlook import Outlook


def clip(name: str, submitted_s: float) -> QueuedJob:
    return QueuedJob(
        job_id=name,
        account_id="a",
        tier="free",
        recipe="mini",
        memory_gb=1,
        gpu_s=2,
        submitted_s=submitted_s,
        concurrency_limit=1,
    )


def test_who_has_as_many_clips_made_as_the_tier_allows_is_told_so_and_waits_for_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shares = {"free": TierShare(weight=1, ceiling_s=100)}
    queue, fleet = FairQueue(shares), Fleet()
    for name in ("busy", "idle"):
        fleet.restore(
            FleetWorker(
                worker_id=name, recipes=frozenset({"mini"}), memory_gb=80, resident=frozenset({"mini"})
            )
        )
    queue.serve(fleet.views(0))
    outlook = Outlook(queue, fleet, shares, FIRST_SPEEDS)
    monkeypatch.setattr(fleet, "left_s_of", lambda job_id: (600.0, 700.0) if job_id == "first" else None)
    free = outlook.wait_for(clip("first", 0), 0, 0)
    assert free is not None
    assert free[0] < 30
    queue.start(clip("first", 0), 0)
    queue.add(clip("second", 1))
    said = outlook.place("second", 1, 1)
    assert said is not None
    assert said["reason"] == "your tier makes 1 clip of yours at a time"
    assert isinstance(said["p50_s"], float)
    assert said["p50_s"] > 600
    behind = outlook.wait_for(clip("third", 2), 2, 2)
    assert behind is not None
    assert behind[0] > said["p50_s"]
