"""Live changes on a real Valkey: who hears what, and what happens while nobody listens."""

import asyncio
import json

import redis.asyncio
from redis.asyncio import Redis

from backend.live import MAX_JOBS_KEPT, LiveHub, Watch
from backend.wakeups import LIVE_CHANNEL, Wakeups, connect


async def heard_the_start(hub: LiveHub, watch: Watch) -> None:
    """A subscription begins with one change of everything: what was said before may have been missed."""
    async with asyncio.timeout(5):
        await hub.listening.wait()
        assert await watch.next() == frozenset()


async def test_an_account_hears_its_own_changes_and_everyones(valkey_url: str) -> None:
    wakeups, hub = Wakeups(connect(valkey_url)), LiveHub(connect(valkey_url))
    with hub.watch("acct_1") as mine, hub.watch("acct_2") as other:
        await heard_the_start(hub, mine)
        assert await other.next(5) == frozenset()
        await wakeups.account_changed("acct_1", "video_1")
        assert await mine.next(5) == {"video_1"}
        assert await other.next(0.05) is None
        await wakeups.everyone_changed()
        assert await mine.next(5) == frozenset()
        assert await other.next(5) == frozenset()
    await hub.close()
    await wakeups.close()


async def test_changes_are_added_up_while_nobody_looks(valkey_url: str) -> None:
    wakeups, hub = Wakeups(connect(valkey_url)), LiveHub(connect(valkey_url))
    with hub.watch("acct_1") as mine, hub.watch("acct_1") as mark:
        await heard_the_start(hub, mine)
        await mark.next(5)
        for name in ("video_1", "video_2", "video_1"):
            await wakeups.account_changed("acct_1", name)
        seen: frozenset[str] = frozenset()
        while seen != {"video_1", "video_2"}:
            seen |= await mark.next(5) or frozenset()
        await wakeups.account_changed("acct_1", "video_3")
        while "video_3" not in seen:
            seen |= await mark.next(5) or frozenset()
        assert await mine.next(5) == {"video_1", "video_2", "video_3"}
        for number in range(MAX_JOBS_KEPT * 3):
            await wakeups.account_changed("acct_1", f"video_{number}")
        last = f"video_{MAX_JOBS_KEPT * 3 - 1}"
        while last not in (await mark.next(5) or frozenset()):
            pass
        assert await mine.next(5) == frozenset()
    await hub.close()
    await wakeups.close()


async def test_a_lost_connection_is_taken_up_again_and_everything_read_anew(valkey_url: str) -> None:
    wakeups, hub = Wakeups(connect(valkey_url)), LiveHub(connect(valkey_url))
    admin: Redis = redis.asyncio.from_url(valkey_url, decode_responses=True)
    with hub.watch("acct_1") as mine:
        await heard_the_start(hub, mine)
        await admin.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        assert await mine.next(5) == frozenset()
        await wakeups.account_changed("acct_1", "video_1")
        assert await mine.next(5) == {"video_1"}
    await admin.aclose()
    await hub.close()
    await wakeups.close()


async def test_nonsense_on_the_channel_harms_nobody(valkey_url: str) -> None:
    admin: Redis = redis.asyncio.from_url(valkey_url, decode_responses=True)
    hub = LiveHub(connect(valkey_url))
    with hub.watch("acct_1") as mine:
        await heard_the_start(hub, mine)
        for nonsense in ("", "{", "[]", "null", '{"job_id": 1}'):
            await admin.publish(LIVE_CHANNEL, nonsense)
        await admin.publish(LIVE_CHANNEL, json.dumps({"account_id": "acct_1", "job_id": "video_1"}))
        assert await mine.next(5) == {"video_1"}
    await admin.aclose()
    await hub.close()


async def test_a_thousand_watchers_share_one_subscription_and_leave_nothing_behind(valkey_url: str) -> None:
    wakeups, hub = Wakeups(connect(valkey_url)), LiveHub(connect(valkey_url))
    watches = [hub.watch(f"acct_{n % 10}").__enter__() for n in range(1000)]
    await heard_the_start(hub, watches[0])
    counted = await wakeups.redis.execute_command("PUBSUB", "NUMSUB", LIVE_CHANNEL)
    assert counted[1] == 1
    for watch in watches:
        watch.close()
    assert hub.watched_accounts == 0
    await hub.close()
    await wakeups.close()
