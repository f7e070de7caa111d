"""The p90 of an ETA holds nine times of ten, also after the load has changed."""

import random

from backend.domain.eta import Calibration, Situation


def held_over(calibration: Calibration, rng: random.Random, slower: float, count: int) -> float:
    held = 0
    for _job in range(count):
        situation = Situation(tier="free", first=True, pressure=0.5, estimate_s=rng.uniform(20, 50))
        eta = calibration.predict(situation)
        actual_s = situation.estimate_s * slower * rng.lognormvariate(0, 0.4)
        held += actual_s <= eta.p90_s
        assert eta.p50_s <= eta.p90_s
        calibration.learn(situation, eta, actual_s)
    return held / count


def test_the_p90_holds_nine_times_of_ten_also_after_the_load_changed() -> None:
    calibration, rng = Calibration(), random.Random(1)
    held_over(calibration, rng, 1.0, 300)
    assert 0.87 <= held_over(calibration, rng, 1.0, 2000) <= 0.93
    held_over(calibration, rng, 3.0, 300)
    assert 0.87 <= held_over(calibration, rng, 3.0, 2000) <= 0.93


def test_situations_that_differ_do_not_teach_each_other() -> None:
    calibration = Calibration()
    calm = Situation(tier="free", first=True, pressure=0.5, estimate_s=30)
    pressed = Situation(tier="free", first=False, pressure=3, estimate_s=30)
    before = calibration.predict(calm)
    for _job in range(50):
        calibration.learn(pressed, calibration.predict(pressed), 5000)
    assert calibration.predict(calm) == before
    assert calibration.predict(pressed).p90_s > 10 * before.p90_s
