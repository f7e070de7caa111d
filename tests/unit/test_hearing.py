"""The leader knows when it was deaf, and buries nobody then."""

from datetime import timedelta

from backend.clock import FakeClock
from jobs.hearing import Hearing


def test_hears_for_as_long_as_reads_come_back_without_a_gap() -> None:
    clock = FakeClock()
    hearing = Hearing(clock)
    assert hearing.for_s() == 0
    for _ in range(11):
        hearing.heard()
        clock.advance(timedelta(seconds=1))
    assert hearing.for_s() == 11


def test_a_failed_read_begins_the_count_again() -> None:
    clock = FakeClock()
    hearing = Hearing(clock)
    hearing.heard()
    clock.advance(timedelta(seconds=2))
    hearing.deaf()
    assert hearing.for_s() == 0
    hearing.heard()
    clock.advance(timedelta(seconds=1))
    assert hearing.for_s() == 1


def test_a_process_that_was_stopped_was_deaf_meanwhile() -> None:
    clock = FakeClock()
    hearing = Hearing(clock)
    for _ in range(12):
        hearing.heard()
        clock.advance(timedelta(seconds=1))
    clock.advance(timedelta(seconds=60))
    assert hearing.for_s() == 0
    hearing.heard()
    assert hearing.for_s() == 0
