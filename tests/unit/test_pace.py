"""How long a clip takes, by what clips of its recipe and size took."""

import pytest

from backend.domain.pace import LATE, Made, Pace, Paces


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
