"""The p90 of an ETA holds nine times of ten, also after the load has changed, and is no wider than it must be."""

import random

import pytest

from backend.domain.eta import Calibration, Situation


def calm(estimate_s: float = 30.0, **fields: object) -> Situation:
    return Situation(**{"tier": "free", "first": True, "pressure": 0.5, "estimate_s": estimate_s, **fields})  # type: ignore[arg-type]  # test fields


def held_over(calibration: Calibration, rng: random.Random, slower: float, count: int) -> float:
    held = 0
    for _job in range(count):
        situation = calm(rng.uniform(20, 50))
        eta = calibration.predict(situation)
        actual_s = situation.estimate_s * slower * rng.lognormvariate(0, 0.4)
        held += actual_s <= eta.p90_s
        assert eta.p50_s <= eta.p90_s
        calibration.learn(situation, eta, actual_s)
    return held / count


def test_the_p90_holds_nine_times_of_ten_also_after_the_load_changed() -> None:
    calibration, rng = Calibration(), random.Random(1)
    held_over(calibration, rng, 1.0, 300)
    assert 0.87 <= held_over(calibration, rng, 1.0, 2000) <= 0.95
    held_over(calibration, rng, 3.0, 40)
    assert 0.87 <= held_over(calibration, rng, 3.0, 2000) <= 0.95


@pytest.mark.parametrize("slower", [0.4, 1.0, 2.0])
def test_after_twenty_ends_the_band_is_as_wide_as_they_were(slower: float) -> None:
    calibration, rng = Calibration(), random.Random(2)
    assert calibration.predict(calm()).p90_s == 30 * 2.5
    for _job in range(20):
        situation = calm()
        actual_s = situation.estimate_s * slower * rng.uniform(0.9, 1.1)
        calibration.learn(situation, calibration.predict(situation), actual_s)
    eta = calibration.predict(calm())
    assert eta.p50_s == pytest.approx(30 * slower, rel=0.1)
    assert eta.p90_s <= 30 * max(slower, 1.0) * 1.1


def test_a_few_quick_ends_do_not_promise_that_none_is_late() -> None:
    calibration = Calibration()
    for _job in range(5):
        calibration.learn(calm(), calibration.predict(calm()), 15.0)
    eta = calibration.predict(calm())
    assert (eta.p50_s, eta.p90_s) == (15.0, 75.0)


def test_the_band_begins_as_wide_as_such_clips_were_measured_to_spread() -> None:
    eta = Calibration().predict(calm(late=1.2))
    assert (eta.p50_s, eta.p90_s) == (30.0, 36.0)


@pytest.mark.parametrize("before", [0, 5, 30])
def test_one_very_late_end_does_not_widen_the_band(before: int) -> None:
    calibration = Calibration()
    for _job in range(before):
        calibration.learn(calm(), calibration.predict(calm()), 30.0)
    calibration.learn(calm(), calibration.predict(calm()), 3000.0)
    assert calibration.predict(calm()).p90_s <= 75.0


def test_tiers_that_do_not_wait_for_each_other_learn_together() -> None:
    calibration = Calibration()
    for _job in range(20):
        calibration.learn(calm(), calibration.predict(calm()), 60.0)
    assert calibration.predict(calm(tier="pro")) == calibration.predict(calm())
    pressed = calm(pressure=3.0)
    for _job in range(20):
        calibration.learn(pressed, calibration.predict(pressed), 90.0)
    assert calibration.predict(calm(tier="pro", pressure=3.0)).p50_s == 30.0


def test_situations_that_differ_do_not_teach_each_other() -> None:
    calibration = Calibration()
    pressed = calm(first=False, pressure=3)
    before = calibration.predict(calm())
    for _job in range(50):
        calibration.learn(pressed, calibration.predict(pressed), 5000)
    assert calibration.predict(calm()) == before
    assert calibration.predict(pressed).p90_s > 10 * before.p90_s / 2.5
