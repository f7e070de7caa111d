"""The fair queue: shares, affinity, limits, and places that equal a drain."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.domain.scheduling import FairQueue, QueuedJob, TierShare, WorkerView, effective_weights

SHARES = {"free": TierShare(weight=1), "plus": TierShare(weight=2), "pro": TierShare(weight=4)}
GPU = WorkerView(worker_id="w", recipes=frozenset({"mini", "wan"}), memory_gb=80)


def job(
    name: str,
    account: str = "a",
    tier: str = "free",
    recipe: str = "mini",
    gpu_s: float = 10,
    at: float = 0,
    limit: int = 100,
    memory_gb: float = 1,
) -> QueuedJob:
    return QueuedJob(
        job_id=name,
        account_id=account,
        tier=tier,
        recipe=recipe,
        memory_gb=memory_gb,
        gpu_s=gpu_s,
        submitted_s=at,
        concurrency_limit=limit,
    )


def drain(queue: FairQueue, worker: WorkerView = GPU, count: int = 10**9) -> list[QueuedJob]:
    done = []
    while len(done) < count and (picked := queue.pick(worker)) is not None:
        queue.start(picked)
        queue.remove(picked.job_id)
        done.append(picked)
    return done


def test_one_account_is_served_in_the_order_it_submitted() -> None:
    queue = FairQueue(SHARES)
    for index in (3, 1, 2):
        queue.add(job(f"j{index}", at=index))
    assert [j.job_id for j in drain(queue)] == ["j1", "j2", "j3"]


def test_a_flood_of_one_account_does_not_delay_another() -> None:
    queue = FairQueue(SHARES)
    for index in range(50):
        queue.add(job(f"flood{index:02}", account="flood", at=index))
    drain(queue, count=5)
    queue.add(job("light", account="light", at=100))
    assert "light" in {j.job_id for j in drain(queue, count=2)}


def test_backlogged_tiers_share_gpu_time_by_weight() -> None:
    queue = FairQueue(SHARES)
    for tier in SHARES:
        for index in range(400):
            queue.add(job(f"{tier}{index:03}", account=f"{tier}{index % 7}", tier=tier, at=index))
    served = Counter(j.tier for j in drain(queue, count=350))
    assert served["free"] / 350 == pytest.approx(1 / 7, abs=0.02)
    assert served["pro"] / 350 == pytest.approx(4 / 7, abs=0.02)


def test_counts_gpu_seconds_and_not_jobs() -> None:
    queue = FairQueue(SHARES)
    for index in range(60):
        queue.add(job(f"long{index:02}", account="long", gpu_s=30, at=index))
        queue.add(job(f"short{index:02}", account="short", gpu_s=10, at=index))
    first = Counter(j.account_id for j in drain(queue, count=40))
    assert first["short"] == pytest.approx(3 * first["long"], abs=2)


def test_an_account_that_was_idle_saved_nothing_up() -> None:
    queue = FairQueue(SHARES)
    queue.add(job("early", account="idle"))
    drain(queue)
    for index in range(20):
        queue.add(job(f"busy{index:02}", account="busy", at=index))
    drain(queue, count=10)
    for index in range(20):
        queue.add(job(f"idle{index:02}", account="idle", at=50 + index))
    served = Counter(j.account_id for j in drain(queue, count=10))
    assert served["idle"] <= 6


def test_a_floor_raises_a_small_weight() -> None:
    weights = effective_weights({"free": TierShare(weight=1, floor=0.2), "pro": TierShare(weight=19)})
    assert weights["free"] / sum(weights.values()) == pytest.approx(0.2)
    with pytest.raises(ValueError, match="floors"):
        effective_weights({"free": TierShare(weight=1, floor=1.0)})


def test_a_worker_prefers_the_model_it_has_loaded_within_the_bound() -> None:
    queue = FairQueue(SHARES, affinity_gpu_s=30)
    warm = WorkerView(
        worker_id="w", recipes=frozenset({"mini", "wan"}), memory_gb=80, resident=frozenset({"wan"})
    )
    queue.add(job("cold", account="a", recipe="mini", at=0))
    for index in range(10):
        queue.add(job(f"warm{index}", account="b", recipe="wan", gpu_s=20, at=1 + index))
    order = [j.job_id for j in drain(queue, warm)]
    assert order[0].startswith("warm")
    assert order.index("cold") <= 3


def test_a_concurrency_limit_makes_jobs_wait_and_refuses_none() -> None:
    queue = FairQueue(SHARES)
    queue.add(job("one", limit=1))
    queue.add(job("two", limit=1, at=1))
    first = queue.pick(GPU)
    assert first is not None
    queue.start(first)
    assert queue.pick(GPU) is None
    queue.remove("one")
    second = queue.pick(GPU)
    assert second is not None
    assert second.job_id == "two"


def test_a_job_that_no_worker_can_serve_has_no_position_and_says_why() -> None:
    queue = FairQueue(SHARES)
    queue.add(job("huge", recipe="wan", memory_gb=200))
    queue.add(job("small", at=1))
    places = queue.places([GPU])
    assert places["huge"].position is None
    assert "wan" in places["huge"].reason
    assert (places["small"].position, places["small"].of) == (1, 1)


jobs_strategy = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "c"]),
        st.sampled_from(list(SHARES)),
        st.integers(1, 60),
        st.sampled_from(["mini", "wan"]),
    ),
    min_size=1,
    max_size=30,
)


@settings(max_examples=60, deadline=None)
@given(jobs_strategy, st.integers(0, 10))
def test_places_equal_a_drain(rows: list[tuple[str, str, int, str]], served_before: int) -> None:
    queue = FairQueue(SHARES)
    for index, (account, tier, gpu_s, recipe) in enumerate(rows):
        name = f"j{index:02}"
        queue.add(job(name, account=f"{tier}-{account}", tier=tier, gpu_s=gpu_s, recipe=recipe, at=index))
    drain(queue, count=served_before)
    places = queue.places([GPU])
    worker = GPU
    order = []
    while (picked := queue.pick(worker)) is not None:
        queue.start(picked)
        order.append(picked.job_id)
        worker = WorkerView(
            worker_id="w", recipes=GPU.recipes, memory_gb=80, resident=frozenset({picked.recipe})
        )
    assert [places[name].position for name in order] == list(range(1, len(order) + 1))


@settings(max_examples=60, deadline=None)
@given(jobs_strategy)
def test_is_work_conserving_and_loses_no_job(rows: list[tuple[str, str, int, str]]) -> None:
    queue = FairQueue(SHARES)
    for index, (account, tier, gpu_s, recipe) in enumerate(rows):
        queue.add(job(f"j{index:02}", account=account, tier=tier, gpu_s=gpu_s, recipe=recipe, at=index))
    assert len(drain(queue)) == len(rows)
    assert len(queue) == 0
