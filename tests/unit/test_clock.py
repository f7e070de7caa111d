from datetime import UTC, datetime, timedelta

import pytest

from backend.clock import FakeClock, SystemClock


def test_time_stands_still_until_it_is_advanced() -> None:
    clock = FakeClock()
    before = clock.now()
    assert clock.now() == before
    clock.advance(timedelta(minutes=2))
    assert clock.now() - before == timedelta(minutes=2)
    assert clock.monotonic() == 120


def test_a_jump_of_the_wall_clock_is_no_time_passed() -> None:
    clock = FakeClock()
    clock.jump_to(datetime(2020, 1, 1, tzinfo=UTC))
    assert clock.now().year == 2020
    assert clock.monotonic() == 0


def test_time_does_not_run_backwards() -> None:
    with pytest.raises(ValueError, match="forwards"):
        FakeClock().advance(timedelta(seconds=-1))


def test_the_system_clock_is_aware() -> None:
    assert SystemClock().now().tzinfo is UTC
