"""A full tier turns away an account's first job at once, with the time to try again; nothing accepted is touched."""

from datetime import timedelta

import pytest

from backend.clock import SystemClock
from backend.domain.errors import TierFull
from backend.domain.scheduling import FairQueue, QueuedJob
from backend.domain.shares import LEAST_WAITING, TierShare
from backend.services.scheduling_state import FIRST_SPEEDS
from backend.studio import Studio
from jobs.fleet import Fleet, FleetWorker
from jobs.outlook import Outlook
from tests.integration.life_rig import make_creator, submit


async def test_a_full_tier_refuses_an_accounts_first_job_and_says_when_to_try_again(studio: Studio) -> None:
    creator = await make_creator(studio)
    await studio.wakeups.say_full({creator.tier: {"retry_after_s": 42.0}})
    with pytest.raises(TierFull) as refused:
        await submit(studio, creator)
    assert refused.value.retry_after == timedelta(seconds=42)
    assert refused.value.http_status == 429
    assert "42 s" in refused.value.message


async def test_who_has_some_waiting_is_not_turned_away_by_a_full_tier(studio: Studio) -> None:
    creator = await make_creator(studio)
    await submit(studio, creator)
    await studio.wakeups.say_full({creator.tier: {"retry_after_s": 42.0}})
    assert (await submit(studio, creator, seed=2)).id


async def test_another_tier_that_is_full_turns_nobody_away(studio: Studio) -> None:
    creator = await make_creator(studio)
    await studio.wakeups.say_full({"somebody-elses": {"retry_after_s": 42.0}})
    assert (await submit(studio, creator)).id


def test_the_leader_calls_a_tier_full_when_more_waits_than_its_ceiling_allows() -> None:
    shares = {"free": TierShare(weight=1, ceiling_s=100)}
    queue, fleet = FairQueue(shares), Fleet()
    fleet.restore(
        FleetWorker(worker_id="w", recipes=frozenset({"mini"}), memory_gb=80, resident=frozenset({"mini"}))
    )
    queue.serve(fleet.views(0))
    outlook = Outlook(queue, fleet, shares, FIRST_SPEEDS)
    now_s = SystemClock().now().timestamp()
    for index in range(LEAST_WAITING):
        assert outlook.full_tiers(now_s, 0) == {}
        queue.add(
            QueuedJob(
                job_id=f"j{index}",
                account_id=f"a{index}",
                tier="free",
                recipe="mini",
                memory_gb=1,
                gpu_s=30,
                submitted_s=now_s,
                concurrency_limit=1,
            )
        )
    full = outlook.full_tiers(now_s, 0)
    assert full["free"]["retry_after_s"] == pytest.approx(30 * LEAST_WAITING - 25, rel=0.01)
