"""How long a worker may take before it counts as stalled, and before a wish to preempt is given up."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from backend.domain.checkpoints import SHARE, interval_s
from backend.domain.patience import SHORTEST, STOP_MARGIN, Pace, Stage, believed_s, patience, stops_within

QUICK = Pace(step_s=0.02, load_s=2, around_s=0.6)
SLOW = Pace(step_s=30, load_s=240, around_s=40)


def test_a_quick_worker_has_a_minute_a_step_and_a_slow_one_ten_of_its_steps() -> None:
    assert patience(Stage.STEPPING, QUICK) == timedelta(minutes=1)
    assert patience(Stage.STEPPING, SLOW) == timedelta(seconds=300)


def test_loading_has_longer_than_a_step() -> None:
    assert patience(Stage.LOADING, QUICK) == timedelta(minutes=5)
    assert patience(Stage.LOADING, SLOW) == timedelta(minutes=20)


def test_a_worker_is_believed_within_twenty_times_what_the_recipe_declares_or_a_minute() -> None:
    assert believed_s(59, 0.01) == 59
    assert believed_s(1e7, 0.01) == 60
    assert believed_s(100, 11) == 100
    assert believed_s(1e7, 11) == 220


@given(
    st.sampled_from(list(Stage)),
    st.builds(
        Pace,
        step_s=st.floats(0, 1000),
        load_s=st.floats(0, 5000),
        around_s=st.floats(0, 1000),
    ),
)
def test_nobody_is_stalled_before_the_shortest_patience_or_within_a_wish_to_stop(
    stage: Stage, pace: Pace
) -> None:
    assert patience(stage, pace) >= SHORTEST
    within = stops_within(stage, pace)
    assert within is None or within >= STOP_MARGIN


def test_a_wish_to_preempt_holds_for_three_steps_and_not_for_a_clip_that_is_nearly_done() -> None:
    assert stops_within(Stage.STEPPING, SLOW) == timedelta(seconds=90) + STOP_MARGIN
    assert stops_within(Stage.LOADING, SLOW) == timedelta(seconds=330) + STOP_MARGIN
    assert stops_within(Stage.FINISHING, SLOW) is None
    assert stops_within(Stage.SENDING, SLOW) is None


@given(
    st.floats(60, 7200),
    st.floats(1, 60),
    st.floats(0.001, 60),
    st.floats(0, 5),
)
def test_checkpoints_take_less_than_a_hundredth_of_any_run_of_a_minute(
    run_s: float, wanted_s: float, step_s: float, cost_s: float
) -> None:
    every_s = interval_s(wanted_s=wanted_s, step_s=step_s, cost_s=cost_s)
    assert int(run_s / every_s) * cost_s <= SHARE * run_s * 1.000001
    assert every_s >= step_s
