"""The fair queue: shares, affinity, ceilings, limits, and places that equal a drain."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.domain import scheduling
from backend.domain.scheduling import FIRST_FROM, KEEP_LOADS, PATIENCE_S, FairQueue, QueuedJob, WorkerView
from backend.domain.shares import TierShare

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
    load_s: float = 5,
    batch_key: str = "",
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
        load_s=load_s,
        batch_key=batch_key,
    )


def open_queue(*workers: WorkerView, shares: dict[str, TierShare] | None = None) -> FairQueue:
    queue = FairQueue(shares or SHARES)
    queue.serve(workers or [GPU])
    return queue


def drain(
    queue: FairQueue, worker: WorkerView = GPU, count: int = 10**9, now_s: float = 0
) -> list[QueuedJob]:
    """What one worker that loads nothing would run, one after the other."""
    done: list[QueuedJob] = []
    while len(done) < count and (picked := queue.pick(worker, now_s)) is not None:
        queue.start(picked, now_s)
        queue.remove(picked.job_id)
        done.append(picked)
    return done


def in_fair_order(queue: FairQueue, now_s: float = 0) -> list[str]:
    """The waiting jobs in the order in which they start where each one started stays."""
    order = []
    while len(queue):
        places = {name: queue.place(name, now_s) for name in waiting(queue)}
        (first,) = [n for n, p in places.items() if p is not None and p.position == 1]
        found = queue.waiting_job(first)
        assert found is not None
        queue.start(found, now_s)
        order.append(first)
    return order


def waiting(queue: FairQueue) -> list[str]:
    return [name for name in NAMES if name in queue]


NAMES = [f"j{index:02}" for index in range(40)]


def test_one_account_is_served_in_the_order_it_submitted() -> None:
    queue = open_queue()
    for index in (3, 1, 2):
        queue.add(job(f"j{index}", at=index))
    assert [j.job_id for j in drain(queue)] == ["j1", "j2", "j3"]


def test_a_flood_of_one_account_does_not_delay_another() -> None:
    queue = open_queue()
    for index in range(50):
        queue.add(job(f"flood{index:02}", account="flood", at=index))
    drain(queue, count=5)
    queue.add(job("light", account="light", at=100))
    assert "light" in {j.job_id for j in drain(queue, count=2)}


def test_backlogged_tiers_share_gpu_time_by_weight() -> None:
    queue = open_queue()
    for tier in SHARES:
        for index in range(400):
            queue.add(job(f"{tier}{index:03}", account=f"{tier}{index % 7}", tier=tier, at=index))
    served = Counter(j.tier for j in drain(queue, count=350))
    assert served["free"] / 350 == pytest.approx(1 / 7, abs=0.02)
    assert served["pro"] / 350 == pytest.approx(4 / 7, abs=0.02)


def test_counts_gpu_seconds_and_not_jobs() -> None:
    queue = open_queue()
    for index in range(60):
        queue.add(job(f"long{index:02}", account="long", gpu_s=30, at=index))
        queue.add(job(f"short{index:02}", account="short", gpu_s=10, at=index))
    first = Counter(j.account_id for j in drain(queue, count=40))
    assert first["short"] == pytest.approx(3 * first["long"], abs=3)


def test_an_account_that_was_idle_saved_nothing_up() -> None:
    queue = open_queue()
    queue.add(job("early", account="idle"))
    drain(queue)
    for index in range(20):
        queue.add(job(f"busy{index:02}", account="busy", at=index))
    drain(queue, count=10)
    for index in range(20):
        queue.add(job(f"idle{index:02}", account="idle", at=50 + index))
    served = Counter(j.account_id for j in drain(queue, count=10))
    assert served["idle"] <= 6


def test_a_tier_that_was_idle_saved_nothing_up() -> None:
    queue = open_queue()
    for index in range(40):
        queue.add(job(f"pro{index:02}", account="p", tier="pro", at=index))
    drain(queue, count=20)
    for index in range(40):
        queue.add(job(f"free{index:02}", account="f", tier="free", at=50 + index))
    served = Counter(j.tier for j in drain(queue, count=10))
    assert served["free"] <= 3


def test_a_concurrency_limit_makes_jobs_wait_and_refuses_none() -> None:
    queue = open_queue()
    queue.add(job("one", limit=1))
    queue.add(job("two", limit=1, at=1))
    first = queue.pick(GPU, 0)
    assert first is not None
    queue.start(first, 0)
    assert queue.pick(GPU, 0) is None
    queue.remove("one")
    second = queue.pick(GPU, 0)
    assert second is not None
    assert second.job_id == "two"


def test_a_job_that_no_worker_can_serve_has_no_position_says_why_and_comes_back() -> None:
    queue = open_queue()
    queue.add(job("huge", account="h", recipe="wan", memory_gb=200))
    queue.add(job("small", at=1))
    stranded, small = queue.place("huge", 2), queue.place("small", 2)
    assert stranded is not None
    assert small is not None
    assert stranded.position is None
    assert "200 GB" in stranded.reason
    assert (small.position, small.of) == (1, 1)
    queue.serve([GPU, WorkerView(worker_id="big", recipes=GPU.recipes, memory_gb=400)])
    back = queue.place("huge", 3)
    assert back is not None
    assert back.position is not None


def test_a_cancelled_job_lets_what_its_account_has_behind_it_move_up() -> None:
    queue = open_queue()
    for index, name in enumerate(("a1", "a2")):
        queue.add(job(name, account="a", gpu_s=100, at=index))
    for index, name in enumerate(("b1", "b2", "b3")):
        queue.add(job(name, account="b", gpu_s=40, at=index))
    before = queue.place("a2", 5)
    queue.remove("a1")
    after = queue.place("a2", 5)
    assert before is not None
    assert after is not None
    assert (before.position, after.position) == (5, 2)


def test_a_preempted_job_comes_back_to_its_old_place_and_counts_once() -> None:
    queue = open_queue()
    for index in range(6):
        queue.add(job(f"free{index}", account="f", tier="free", at=index))
        queue.add(job(f"pro{index}", account="p", tier="pro", at=index))
    first = next(j for j in (queue.waiting_job("free0"),) if j is not None)
    queue.start(first, 0)
    queue.add(first)
    place = queue.place("free0", 0)
    assert place is not None
    assert place.tier_before == 0
    served = Counter(j.tier for j in drain(queue, count=5))
    assert served == {"free": 1, "pro": 4}


def test_a_large_worker_takes_what_only_it_can_run_first() -> None:
    small = WorkerView(worker_id="s", recipes=GPU.recipes, memory_gb=24)
    large = WorkerView(worker_id="l", recipes=GPU.recipes, memory_gb=80)
    queue = open_queue(small, large)
    queue.add(job("little", account="a", memory_gb=12, at=0))
    queue.add(job("huge", account="b", memory_gb=48, at=1))
    picked = queue.pick(large, 2)
    assert picked is not None
    assert picked.job_id == "huge"
    other = queue.pick(small, 2)
    assert other is not None
    assert other.job_id == "little"


def test_a_worker_keeps_to_its_model_while_it_has_work_for_it() -> None:
    queue = open_queue()
    queue.add(job("cold", account="a", recipe="mini", at=0))
    for index in range(4):
        queue.add(job(f"warm{index}", account="b", recipe="wan", at=1 + index))
    warm = WorkerView(worker_id="w", recipes=GPU.recipes, memory_gb=80, resident=frozenset({"wan"}))
    picked = queue.pick(warm, 5)
    assert picked is not None
    assert picked.recipe == "wan"


def test_a_job_that_its_ceiling_binds_goes_first_from_three_tenths_of_it_on() -> None:
    shares = {"free": TierShare(weight=1, ceiling_s=1000)}
    queue = open_queue(shares=shares)
    queue.add(job("cold", account="a", recipe="mini", at=0))
    for index in range(9):
        queue.add(job(f"warm{index}", account="b", recipe="wan", at=1 + index))
    warm = WorkerView(worker_id="w", recipes=GPU.recipes, memory_gb=80, resident=frozenset({"wan"}), kept_s=1)
    before = queue.pick(warm, FIRST_FROM * 1000 - 1)
    after = queue.pick(warm, FIRST_FROM * 1000)
    assert before is not None
    assert after is not None
    assert (before.recipe, after.job_id) == ("wan", "cold")


def test_no_model_is_kept_for_ever() -> None:
    queue = open_queue()
    queue.add(job("cold", account="a", recipe="mini", at=0))
    for index in range(2000):
        queue.add(job(f"warm{index:04}", account="b", recipe="wan", at=1 + index))
    now_s, kept_s, order = 2001.0, 0.0, []
    while "cold" in queue:
        worker = WorkerView(
            worker_id="w", recipes=GPU.recipes, memory_gb=80, resident=frozenset({"wan"}), kept_s=kept_s
        )
        picked = queue.pick(worker, now_s)
        assert picked is not None
        queue.start(picked, now_s)
        queue.remove(picked.job_id)
        order.append(picked.job_id)
        now_s, kept_s = now_s + picked.gpu_s, kept_s + picked.gpu_s
    assert KEEP_LOADS * 5 / 10 <= len(order) <= PATIENCE_S / 10 + 2


def test_a_model_is_loaded_where_the_own_one_is_wanted_least() -> None:
    popular = WorkerView(
        worker_id="a", recipes=GPU.recipes | {"ltx"}, memory_gb=80, resident=frozenset({"mini"})
    )
    idle = WorkerView(worker_id="b", recipes=popular.recipes, memory_gb=80, resident=frozenset({"wan"}))
    queue = open_queue(popular, idle)
    for index in range(5):
        queue.start(job(f"done{index}", recipe="mini"), index)
    queue.add(job("new", account="x", recipe="ltx", at=6))
    found = queue.next_start([popular, idle], 6)
    assert found is not None
    assert (found[0].worker_id, found[1].job_id) == ("b", "new")


def test_a_busy_worker_that_has_the_model_gets_the_job_where_loading_would_take_longer() -> None:
    busy = WorkerView(
        worker_id="a", recipes=GPU.recipes, memory_gb=80, resident=frozenset({"mini"}), busy_s=3
    )
    idle = WorkerView(worker_id="b", recipes=GPU.recipes, memory_gb=80, resident=frozenset({"wan"}))
    queue = open_queue(busy, idle)
    queue.add(job("next", recipe="mini", load_s=5))
    found = queue.next_start([busy, idle], 0)
    assert found is not None
    assert found[0].worker_id == "a"


def batch(queue: FairQueue, first: QueuedJob, *workers: WorkerView, most: int = 3) -> list[str]:
    beside = queue.batch_with(first, GPU, workers or [GPU], most=most)
    return [other.job_id for other in beside]


def test_a_batch_is_made_of_equal_jobs_and_keeps_to_limits() -> None:
    queue = open_queue()
    queue.add(job("one", account="a", batch_key="k", at=0))
    queue.add(job("two", account="b", batch_key="k", at=1))
    queue.add(job("other", account="c", batch_key="else", at=2))
    queue.add(job("mine", account="a", batch_key="k", at=3, limit=1))
    first = queue.pick(GPU, 4)
    assert first is not None
    assert batch(queue, first, most=4) == ["two"]


def test_a_batch_takes_the_most_entitled_and_no_more_than_it_may() -> None:
    queue = open_queue()
    for at, name in enumerate(["one", "two", "three", "four", "five"]):
        queue.add(job(name, account=name, batch_key="k", at=at))
    first = queue.pick(GPU, 5)
    assert first is not None
    assert batch(queue, first, most=2) == ["two", "three"]
    assert batch(queue, first, most=0) == []


def test_a_batch_takes_nothing_that_another_worker_could_start_now() -> None:
    queue = open_queue()
    for name in ("one", "two"):
        queue.add(job(name, account=name, batch_key="k"))
    first = queue.pick(GPU, 1)
    assert first is not None
    idle = WorkerView(worker_id="idle", recipes=GPU.recipes, memory_gb=80)
    busy = WorkerView(worker_id="busy", recipes=GPU.recipes, memory_gb=80, busy_s=9)
    elsewhere = WorkerView(worker_id="elsewhere", recipes=frozenset({"else"}), memory_gb=80)
    assert batch(queue, first, GPU, idle) == []
    assert batch(queue, first, GPU, busy, elsewhere) == ["two"]


def test_what_goes_first_shares_no_batch_with_what_does_not() -> None:
    queue = open_queue(shares={"free": TierShare(weight=1, ceiling_s=100)})
    queue.add(job("late", account="a", batch_key="k", at=0))
    queue.add(job("in_time", account="b", batch_key="k", at=90))
    first = queue.pick(GPU, 95)
    assert first is not None
    assert first.job_id == "late"
    assert batch(queue, first) == []


def start_batches(queue: FairQueue, count: int, most: int, now_s: float = 0) -> list[QueuedJob]:
    """What so many passes of one worker run; each ends before the next begins."""
    ran: list[QueuedJob] = []
    for _pass in range(count):
        first = queue.pick(GPU, now_s)
        if first is None:
            break
        beside = queue.batch_with(first, GPU, [GPU], most=most)
        for each in (first, *beside):
            queue.start(each, now_s, in_batch=each is not first)
        for each in (first, *beside):
            queue.remove(each.job_id)
        ran += [first, *beside]
    return ran


def test_who_is_batched_gets_no_more_than_a_share() -> None:
    queue = open_queue(shares={"free": TierShare(weight=1)})
    for at in range(40):
        queue.add(job(f"together{at}", account="together", batch_key="k", gpu_s=10, at=at))
        queue.add(job(f"single{at}", account="single", gpu_s=10, at=at))
    ran = start_batches(queue, 16, most=3)
    work = Counter(each.account_id for each in ran)
    assert abs(work["together"] - work["single"]) <= 4


def test_batches_do_not_move_the_present_past_who_comes_next() -> None:
    queue = open_queue(shares={"free": TierShare(weight=1)})
    for at in range(8):
        queue.add(job(f"together{at}", account="together", batch_key="k", gpu_s=10, at=at))
        queue.add(job(f"single{at}", account="single", gpu_s=10, at=at))
    start_batches(queue, 1, most=3)
    queue.add(job("newcomer", account="newcomer", gpu_s=10, at=9))
    place = queue.place("newcomer", 10)
    assert place is not None
    assert place.position is not None
    assert place.position <= 3


rows = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "c"]),
        st.sampled_from(list(SHARES)),
        st.integers(1, 60),
        st.sampled_from(["mini", "wan"]),
    ),
    min_size=1,
    max_size=30,
)


def filled(found: list[tuple[str, str, int, str]], queue: FairQueue) -> FairQueue:
    for index, (account, tier, gpu_s, recipe) in enumerate(found):
        queue.add(
            job(
                NAMES[index],
                account=f"{tier}-{account}",
                tier=tier,
                gpu_s=gpu_s,
                recipe=recipe,
                at=index,
                batch_key=recipe,
            )
        )
    return queue


@settings(max_examples=60, deadline=None)
@given(
    rows, st.integers(0, 10), st.integers(0, 3), st.integers(0, 5), st.sampled_from([0.0, 100.0, 10_000.0])
)
def test_places_equal_a_drain(
    found: list[tuple[str, str, int, str]], served: int, batches: int, cancelled: int, ceiling_s: float
) -> None:
    shares = {
        name: TierShare(weight=share.weight * 1.3, ceiling_s=ceiling_s or float("inf"))
        for name, share in SHARES.items()
    }
    queue = filled(found, open_queue(shares=shares))
    drain(queue, count=served)
    start_batches(queue, batches, most=2)
    for name in waiting(queue)[: cancelled * 2 : 2]:
        queue.remove(name)
    now_s = 40.0
    places = {name: queue.place(name, now_s) for name in waiting(queue)}
    order = in_fair_order(queue, now_s)
    assert [place.position for name in order if (place := places[name]) is not None] == list(
        range(1, len(order) + 1)
    )


def test_a_job_that_goes_before_its_tiers_turn_moves_no_other_places() -> None:
    queue = open_queue(shares={name: replace(share, ceiling_s=100) for name, share in SHARES.items()})
    queue.add(job("j00", "f", recipe="wan", gpu_s=1))
    queue.add(job("j01", "f", gpu_s=60, at=1))
    # The worker keeps to the model that has most work waiting, and so free runs far ahead of its turn.
    assert [j.job_id for j in drain(queue, count=1)] == ["j01"]
    for index in range(2, 10):
        queue.add(job(f"j{index:02}", "p" if index % 4 else "f", "plus" if index % 4 else "free", at=index))
    now_s = 100 * FIRST_FROM
    places = {name: queue.place(name, now_s) for name in waiting(queue)}
    order = in_fair_order(queue, now_s)
    assert order[0] == "j00"
    assert [place.position for name in order if (place := places[name]) is not None] == list(range(1, 10))


@settings(max_examples=60, deadline=None)
@given(rows)
def test_first_in_place_is_what_a_worker_that_loads_nothing_picks(
    found: list[tuple[str, str, int, str]],
) -> None:
    same_model = [(account, tier, gpu_s, "mini") for account, tier, gpu_s, _recipe in found]
    queue = filled(same_model, open_queue())
    while len(queue):
        picked = queue.pick(GPU, 50)
        assert picked is not None
        place = queue.place(picked.job_id, 50)
        assert place is not None
        assert place.position == 1
        queue.start(picked, 50)


@settings(max_examples=60, deadline=None)
@given(rows)
def test_is_work_conserving_and_loses_no_job(found: list[tuple[str, str, int, str]]) -> None:
    queue = filled(found, open_queue())
    assert len(drain(queue)) == len(found)
    assert len(queue) == 0


@settings(max_examples=40, deadline=None)
@given(rows, st.integers(1, 7))
def test_a_queue_restored_in_pages_is_the_queue_filled_one_by_one(
    found: list[tuple[str, str, int, str]], page: int
) -> None:
    one_by_one = filled(found, open_queue())
    in_pages = open_queue()
    jobs = [found_job for name in NAMES if (found_job := one_by_one.waiting_job(name)) is not None]
    for begin in range(0, len(jobs), page):
        in_pages.enter(jobs[begin : begin + page])
    line_up(in_pages)
    assert [in_pages.place(name, 50) for name in waiting(in_pages)] == [
        one_by_one.place(name, 50) for name in waiting(one_by_one)
    ]
    assert [j.job_id for j in drain(in_pages)] == [j.job_id for j in drain(one_by_one)]


def line_up(queue: FairQueue, now_s: float = 0) -> None:
    for _pause in queue.line_up(now_s):
        pass


def test_a_job_that_comes_out_of_order_while_the_queue_is_restored_has_its_place_by_age() -> None:
    queue = open_queue()
    queue.enter([job("j02", at=2), job("j03", at=3), job("j01", at=1)])
    line_up(queue, now_s=4)
    assert in_fair_order(queue, now_s=4) == ["j01", "j02", "j03"]


def test_a_job_that_comes_back_from_its_worker_while_the_queue_is_restored_runs_no_more() -> None:
    queue = open_queue()
    queue.start(job("back", limit=1), 0)
    queue.enter([job("back", limit=1), job("next", at=1, limit=1)])
    line_up(queue)
    assert queue.running_job("back") is None
    assert [j.job_id for j in drain(queue)] == ["back", "next"]


def test_what_passed_its_time_while_nobody_led_goes_first_at_once() -> None:
    queue = open_queue(shares={"free": TierShare(weight=1, ceiling_s=100), "pro": TierShare(weight=4)})
    queue.enter([job("j00", "p", "pro"), job("j01", "f", "free")])
    line_up(queue, now_s=100 * FIRST_FROM)
    assert in_fair_order(queue, now_s=100 * FIRST_FROM) == ["j01", "j00"]


def test_a_fleet_that_changes_is_followed_in_pieces_each_of_which_leaves_the_queue_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(scheduling, "PIECE", 3)
    names = [f"j{number:02}" for number in range(20)]
    queue = open_queue()
    for at, name in enumerate(names):
        queue.add(job(name, f"a{at % 3}", recipe="mini" if at % 4 else "wan", at=at))
    only_wan = WorkerView(worker_id="v", recipes=frozenset({"wan"}), memory_gb=80)
    for fleet in ([only_wan], [GPU]):
        pauses = 0
        for _pause in queue.serving(fleet):
            pauses += 1
            places = [place for name in names if (place := queue.place(name, 0)) is not None]
            assert len(places) == len(names) == len(queue)
            ranks = sorted(place.position for place in places if place.position is not None)
            assert ranks == list(range(1, len(ranks) + 1))
        assert pauses > 3
    assert len(drain(queue)) == len(names)


def test_the_ceiling_does_not_bind_what_comes_while_the_accounts_limit_is_reached() -> None:
    queue = open_queue(shares={"free": TierShare(weight=1, ceiling_s=100)})
    queue.start(job("first", limit=1), 0)
    queue.add(job("second", limit=1, at=1))
    assert queue.goes_first_at_s("second") is None
    assert queue.most_urgent(1000, 60) is None


def test_what_the_accounts_limit_keeps_back_is_not_urgent_and_hides_nobody_who_is() -> None:
    queue = open_queue(shares={"free": TierShare(weight=1, ceiling_s=100)})
    queue.add(job("kept", limit=1, at=0))
    queue.add(job("other_model", recipe="wan", limit=1, at=1))
    queue.add(job("in_need", account="b", limit=1, at=2))
    assert [queue.most_urgent(95, 60)] == [queue.waiting_job("kept")]
    queue.start(job("other_model", recipe="wan", limit=1, at=1), 95)
    assert [queue.most_urgent(95, 60)] == [queue.waiting_job("in_need")]
    assert next(iter(queue._options(GPU, 95))).job_id == "in_need"
    queue.remove("other_model")
    assert [queue.most_urgent(95, 60)] == [queue.waiting_job("kept")]


@pytest.mark.parametrize(
    ("limit", "left_s", "before_gpu_s", "starts_in_s"),
    [
        (2, [50.0], [], 0.0),
        (1, [50.0], [], 50.0),
        (2, [50.0, 20.0], [], 20.0),
        (2, [50.0], [30.0], 30.0),
        (2, [50.0, 20.0], [10.0, 5.0], 35.0),
        (1, [50.0, 20.0], [], 50.0),  # the limit was lowered meanwhile
    ],
)
def test_a_place_says_when_the_accounts_limit_lets_a_job_start(
    limit: int, left_s: list[float], before_gpu_s: list[float], starts_in_s: float
) -> None:
    queue = open_queue()
    for index in range(len(left_s)):
        queue.start(job(f"runs{index}", limit=limit), 0)
    for index, gpu_s in enumerate(before_gpu_s):
        queue.add(job(f"waits{index}", gpu_s=gpu_s, limit=limit, at=index))
    queue.add(job("last", limit=limit, at=100))
    place, added = queue.place("last", 100), queue.place_if_added(tier="free", account_id="a", now_s=101)
    assert place is not None
    assert place.own is not None
    assert set(place.own.running) == {f"runs{index}" for index in range(len(left_s))}
    assert place.own.starts_in_s(left_s, lambda gpu_s: gpu_s) == starts_in_s
    assert added.own is not None
    assert (added.own.before, added.own.before_gpu_s) == (len(before_gpu_s) + 1, sum(before_gpu_s) + 10)


def test_a_long_line_of_ones_own_is_reckoned_as_a_whole() -> None:
    queue = open_queue()
    for index in range(200):
        queue.add(job(f"waits{index:03}", gpu_s=10, limit=4, at=index))
    place = queue.place("waits199", 200)
    assert place is not None
    assert place.own is not None
    assert place.own.starts_in_s([], lambda gpu_s: gpu_s) == pytest.approx(199 * 10 / 4)
