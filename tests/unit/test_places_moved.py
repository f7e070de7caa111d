"""Watchers hear that places moved, not how often."""

from datetime import timedelta

from backend.clock import FakeClock
from jobs.places_moved import PlacesMoved


async def test_many_moves_are_told_once_a_second_and_the_last_is_never_left_out() -> None:
    clock, told = FakeClock(), []

    async def say() -> None:
        told.append(clock.monotonic())

    places = PlacesMoved(say, clock)
    await places.tell()
    assert told == []
    begun = clock.monotonic()
    for _ in range(12):
        places.moved()
        await places.tell()
        clock.advance(timedelta(seconds=0.25))
    assert [round(at - begun, 2) for at in told] == [0, 1, 2]
    clock.advance(timedelta(seconds=1))
    await places.tell()
    await places.tell()
    assert len(told) == 4
