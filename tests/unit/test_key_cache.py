"""Recognised keys are remembered for a moment; unknown ones never."""

from datetime import timedelta

import pytest

from backend.auth.key_cache import KNOWN_WHILE_AWAY, TTL, KeyCache
from backend.auth.principal import Principal, Role
from backend.clock import FakeClock
from backend.domain.errors import NotSignedIn

ME = Principal(user_id="user_1", account_id="acct_1", role=Role.CREATOR, tier="free")


class Keys:
    def __init__(self) -> None:
        self.asked: list[str] = []
        self.live = {"good"}

    async def look_up(self, key: str) -> Principal:
        self.asked.append(key)
        if key not in self.live:
            raise NotSignedIn
        return ME


async def test_a_key_is_looked_up_once_within_its_moment() -> None:
    clock, keys = FakeClock(), Keys()
    cache = KeyCache(clock)
    assert await cache.get("good", keys.look_up) == ME
    assert await cache.get("good", keys.look_up) == ME
    assert keys.asked == ["good"]


async def test_a_revoked_key_is_noticed_after_its_moment() -> None:
    clock, keys = FakeClock(), Keys()
    cache = KeyCache(clock)
    await cache.get("good", keys.look_up)
    keys.live.clear()
    clock.advance(TTL + timedelta(milliseconds=1))
    with pytest.raises(NotSignedIn):
        await cache.get("good", keys.look_up)


async def test_an_unknown_key_is_never_remembered() -> None:
    keys = Keys()
    cache = KeyCache(FakeClock())
    with pytest.raises(NotSignedIn):
        await cache.get("soon", keys.look_up)
    keys.live.add("soon")
    assert await cache.get("soon", keys.look_up) == ME


async def _away(_key: str) -> Principal:
    raise ConnectionError("the database is away")


async def test_while_the_database_is_away_a_key_found_lately_is_known_and_no_other() -> None:
    clock, keys = FakeClock(), Keys()
    cache = KeyCache(clock)
    await cache.get("good", keys.look_up)
    clock.advance(TTL + timedelta(seconds=1))
    assert await cache.get("good", _away) == ME
    with pytest.raises(ConnectionError):
        await cache.get("never seen", _away)
    clock.advance(KNOWN_WHILE_AWAY)
    with pytest.raises(ConnectionError):
        await cache.get("good", _away)


async def test_a_key_that_was_revoked_is_not_known_again_while_the_database_is_away() -> None:
    clock, keys = FakeClock(), Keys()
    cache = KeyCache(clock)
    await cache.get("good", keys.look_up)
    keys.live.clear()
    clock.advance(TTL + timedelta(milliseconds=1))
    with pytest.raises(NotSignedIn):
        await cache.get("good", keys.look_up)
    with pytest.raises(ConnectionError):
        await cache.get("good", _away)
