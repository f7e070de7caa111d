"""How long a clip takes, by what clips of its recipe and size took."""

import pytest

from backend.domain.pace import LATE, MOST_TIMES, Made, Pace, Paces, step_seconds


def made(
    steps: int, step: float = 1.0, around_s: float = 1.0, *, recipe: str = "r", size: float = 0.1
) -> Made:
    """A clip whose steps took `step` times what its recipe says, declared as 1 s beside its steps."""
    work = steps * size
    return Made(
        recipe=recipe,
        gpu_s=1.0 + work,
        base_gpu_s=1.0,
        step_gpu_s=size,
        steps_s=work * step,
        around_s=around_s,
    )


def test_what_is_not_measured_takes_what_the_recipe_says() -> None:
    assert Paces().of("r", 0.1) == Pace()
    assert Paces().of("r", 0.1).seconds(12.5) == 12.5
    assert Paces([made(10, 3.0)] * 9).of("another", 0.1) == Pace()


def test_long_and_short_clips_each_take_their_own_time() -> None:
    # Half as long as declared in their steps, twice in the rest: one ratio for both would be wrong for each.
    pace = Paces([made(steps, 0.5, 2.0) for steps in (10, 100, 400)] * 4).of("r", 0.1)
    assert pace.seconds(1.0 + 1.0) == pytest.approx(2.5)
    assert pace.seconds(1.0 + 40.0) == pytest.approx(22.0)


def test_each_recipe_and_size_has_its_own_pace() -> None:
    paces = Paces(
        [made(10, 0.5)] * 9 + [made(10, 2.0, size=0.4)] * 9 + [made(10, 5.0, recipe="slow")] * 9,
    )
    assert paces.of("r", 0.1).step == pytest.approx(0.5)
    assert paces.of("r", 0.4).step == pytest.approx(2.0)
    assert paces.of("slow", 0.1).step == pytest.approx(5.0)


def test_a_size_that_was_never_made_goes_at_the_pace_of_its_recipe() -> None:
    assert Paces([made(10, 3.0)] * 9).of("r", 0.7).step == pytest.approx(3.0)


def test_one_slow_clip_sets_no_pace_and_three_do() -> None:
    assert Paces([made(10, 20.0)]).of("r", 0.1).step == 1.0
    assert Paces([made(10, 20.0)] * 3).of("r", 0.1).step == 20.0


def test_the_newest_clips_decide() -> None:
    assert Paces([made(10, 2.0)] * 20 + [made(10, 9.0)] * 40).of("r", 0.1).step == 2.0


def test_the_spread_is_that_of_the_clips_once_there_are_enough() -> None:
    assert Paces([made(10)] * 3).of("r", 0.1).late == LATE
    assert Paces([made(10)] * 20).of("r", 0.1).late == pytest.approx(1.0)
    uneven = [made(10), made(10, 1.5, 1.5)] * 10
    assert 1.1 < Paces(uneven).of("r", 0.1).late < 1.6


def test_work_of_which_only_the_sum_is_known_takes_what_such_work_took() -> None:
    paces = Paces([made(10, 0.5, 2.0), made(400, 0.5, 2.0)] * 6)
    queue = [2.0, 41.0, 2.0, 41.0]
    each = sum(paces.of("r", 0.1).seconds(gpu_s) for gpu_s in queue)
    assert paces.mix.seconds(sum(queue), len(queue)) == pytest.approx(each)
    assert paces.ratio == pytest.approx(each / sum(queue))
    assert Paces().mix.seconds(10.0, 3) == 10.0
    assert Paces().ratio == 1.0


def test_a_few_slow_first_steps_hardly_say_how_fast_a_run_goes() -> None:
    said = [step_seconds(1.2, 0.1, own_steps=own, steps=400) for own in (1, 3, 4, 20)]
    assert said == sorted(said)
    assert said[2] < 0.13
    assert step_seconds(1.2, 0.1, own_steps=3, steps=16) < 0.2


@pytest.mark.parametrize("steps", [16, 100, 400])
@pytest.mark.parametrize("said_s", [0.02, 0.5])
def test_from_half_of_its_steps_on_a_runs_own_pace_decides(steps: int, said_s: float) -> None:
    assert step_seconds(said_s, 0.1, own_steps=steps // 2, steps=steps) == pytest.approx(said_s)
    assert step_seconds(said_s, 0.1, own_steps=steps // 2 - 1, steps=steps) != pytest.approx(
        said_s, rel=0.001
    )


def test_what_a_worker_says_of_its_steps_counts_up_to_a_bound() -> None:
    assert step_seconds(1e7, 0.1, own_steps=80, steps=100) == pytest.approx(0.1 * MOST_TIMES)
    assert step_seconds(0.0, 0.1, own_steps=80, steps=100) == pytest.approx(0.1 / MOST_TIMES)


def test_where_nothing_is_expected_of_steps_the_worker_is_heard() -> None:
    assert step_seconds(3.0, 0.0, own_steps=3, steps=100) == 3.0
