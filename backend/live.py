"""One Valkey subscriber a process, fanned out to whoever watches an account: browsers' states and event streams.

A wake-up says only that something changed; the truth is read again from the database. Losing one loses nothing.
"""

import asyncio
import json
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from redis.asyncio import Redis
from redis.exceptions import RedisError

from backend.ending import end_tasks
from backend.log import get_logger
from backend.wakeups import LIVE_CHANNEL

log = get_logger(__name__)

ALL_JOBS = ""
EVERYONE = "*"
MAX_JOBS_KEPT = 64
LONGEST_RETRY_S = 5.0


class Watch:
    """The changes of one account.

    Changes that come while nobody looks are added up, never queued without end.
    """

    def __init__(self, hub: "LiveHub", account_id: str) -> None:
        self._hub = hub
        self._account_id = account_id
        self._changed: set[str] = set()
        self._signal = asyncio.Event()

    def __enter__(self) -> Self:
        self._hub._join(self._account_id, self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop watching."""
        self._hub._leave(self._account_id, self)

    async def next(self, timeout_s: float | None = None) -> frozenset[str] | None:
        """The ids of jobs that changed since last time; an empty set: any may have.

        None: nothing in `timeout_s`.
        """
        try:
            async with asyncio.timeout(timeout_s):
                await self._signal.wait()
        except TimeoutError:
            return None
        self._signal.clear()
        changed, self._changed = self._changed, set()
        return frozenset() if ALL_JOBS in changed or len(changed) > MAX_JOBS_KEPT else frozenset(changed)

    async def __aiter__(self) -> AsyncIterator[frozenset[str]]:
        while True:
            changed = await self.next()
            if changed is not None:
                yield changed

    def _tell(self, job_id: str) -> None:
        if len(self._changed) <= MAX_JOBS_KEPT:
            self._changed.add(job_id)
        self._signal.set()


class Seats:
    """How many streams each person has open in this process."""

    def __init__(self) -> None:
        self._taken: Counter[str] = Counter()

    @contextmanager
    def take(self, person: str, *, most: int) -> Iterator[bool]:
        """A seat for as long as the block lasts; False when this person has `most` already."""
        if self._taken[person] >= most:
            yield False
            return
        self._taken[person] += 1
        try:
            yield True
        finally:
            self._taken[person] -= 1
            if not self._taken[person]:
                del self._taken[person]


class LiveHub:
    """Starts to listen when the first watcher comes, and goes on through losses of the connection.

    `with hub.watch(account_id) as changes: async for job_ids in changes: ...`
    """

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._watchers: dict[str, set[Watch]] = defaultdict(set)
        self._listener: asyncio.Task[None] | None = None
        self.listening = asyncio.Event()

    def watch(self, account_id: str) -> Watch:
        """A watch, to be entered with `with`."""
        return Watch(self, account_id)

    @property
    def watched_accounts(self) -> int:
        """How many accounts somebody watches now."""
        return len(self._watchers)

    async def close(self) -> None:
        """Stop listening; watchers hear nothing more."""
        if self._listener is not None:
            await end_tasks(self._listener, within_s=5)
            self._listener = None

    def _join(self, account_id: str, watch: Watch) -> None:
        self._watchers[account_id].add(watch)
        if self._listener is None or self._listener.done():
            self._listener = asyncio.create_task(self._listen(), name="live-hub")

    def _leave(self, account_id: str, watch: Watch) -> None:
        watchers = self._watchers.get(account_id, set())
        watchers.discard(watch)
        if not watchers:
            self._watchers.pop(account_id, None)

    async def _listen(self) -> None:
        retry_s = 0.1
        while True:
            try:
                async with self._redis.pubsub(ignore_subscribe_messages=False) as channel:
                    await channel.subscribe(LIVE_CHANNEL)
                    while True:
                        message = await channel.get_message(timeout=30)
                        if message is None:
                            await channel.ping()
                        elif message["type"] == "subscribe":
                            retry_s = 0.1
                            self.listening.set()
                            # Whatever was said while we were deaf: everyone reads again.
                            self._tell(EVERYONE, ALL_JOBS)
                        elif message["type"] == "message":
                            self._heard(message["data"])
            except (RedisError, OSError) as error:
                self.listening.clear()
                log.warning("live.deaf", error=type(error).__name__, retry_s=retry_s)
                await asyncio.sleep(retry_s)
                retry_s = min(retry_s * 2, LONGEST_RETRY_S)

    def _heard(self, data: str) -> None:
        try:
            said = json.loads(data)
            self._tell(str(said["account_id"]), str(said.get("job_id", ALL_JOBS)))
        except (ValueError, KeyError, TypeError, AttributeError):
            log.warning("live.unreadable")

    def _tell(self, account_id: str, job_id: str) -> None:
        if account_id == EVERYONE:
            for watchers in self._watchers.values():
                for watch in watchers:
                    watch._tell(job_id)
        else:
            for watch in self._watchers.get(account_id, ()):
                watch._tell(job_id)
