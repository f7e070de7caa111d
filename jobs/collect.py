"""Reads what workers send up: heartbeats renew leases, reports end attempts; answers with wishes."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, cast

from redis.asyncio import Redis
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from backend.contracts import Heartbeat, Mailbox, Report, Wishes, parse_uplink
from backend.contracts.wire import UPLINK_FIELD, WORKERS_KEY
from backend.ending import end_tasks
from backend.log import get_logger
from backend.services.accept_heartbeat import accept_heartbeat
from backend.services.accept_report import accept_report
from backend.services.worker_wishes import wishes_of
from backend.storage import StorageError
from backend.studio import Studio
from jobs.hearing import Hearing

log = get_logger(__name__)

BLOCK_MS = 500
WISHES_TTL_MS = 120_000
FIND_WORKERS_EVERY_S = 1.0
HEARTBEATS_AT_ONCE = 6
REPORTS_AT_ONCE = 4
"""Together less than the control process's database connections."""


class Collector:
    """One reader over all uplinks. `saw` hears of every heartbeat after it was recorded.

    Heartbeats are recorded before the next reading, so that having heard means having renewed. Reports look into
    storage and may take long: they are taken beside, each once at a time.
    """

    def __init__(
        self, studio: Studio, redis: Redis, hearing: Hearing, saw: Callable[[Heartbeat], Awaitable[None]]
    ) -> None:
        self._studio = studio
        self._redis = redis
        self._hearing = hearing
        self._saw = saw
        self._last_ids: dict[str, str] = {}
        self._looked_at = -FIND_WORKERS_EVERY_S
        self._room_for_heartbeats = asyncio.Semaphore(HEARTBEATS_AT_ONCE)
        self._room_for_reports = asyncio.Semaphore(REPORTS_AT_ONCE)
        self._reports: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Read for ever."""
        try:
            while True:
                try:
                    await self._take(await self._read())
                    self._hearing.heard()
                except (RedisError, OSError, SQLAlchemyError) as error:
                    self._hearing.deaf()
                    log.warning("collect.waits", error=type(error).__name__)
                    await asyncio.sleep(0.5)
        finally:
            await end_tasks(*self._reports.values(), within_s=5)

    async def _read(self) -> list[tuple[str, str]]:
        """(worker_id, raw message) of all that came, in order for each worker."""
        now = self._studio.clock.monotonic()
        if now - self._looked_at >= FIND_WORKERS_EVERY_S:
            await self._find_workers()
            self._looked_at = now
        if not self._last_ids:
            await asyncio.sleep(BLOCK_MS / 1000)
            return []
        streams: dict[Any, Any] = {Mailbox(w).uplink: last for w, last in self._last_ids.items()}
        answer = await self._redis.xread(streams, count=100, block=BLOCK_MS)
        by_stream = {Mailbox(worker_id).uplink: worker_id for worker_id in self._last_ids}
        found: list[tuple[str, str]] = []
        for stream, entries in cast("list[tuple[str, list[tuple[str, dict[str, str]]]]]", answer or []):
            worker_id = by_stream[stream]
            for entry_id, fields in entries:
                self._last_ids[worker_id] = entry_id
                if UPLINK_FIELD in fields:
                    found.append((worker_id, fields[UPLINK_FIELD]))
        return found

    async def _find_workers(self) -> None:
        members = await cast("Awaitable[set[str]]", self._redis.smembers(WORKERS_KEY))
        for worker_id in members - self._last_ids.keys():
            # Old heartbeats must not renew anything: begin after the newest.
            newest = await self._redis.xrevrange(Mailbox(worker_id).uplink, count=1)
            self._last_ids[worker_id] = cast("list[tuple[str, object]]", newest)[0][0] if newest else "0-0"

    async def _take(self, messages: Iterable[tuple[str, str]]) -> None:
        heartbeats: dict[str, Heartbeat] = {}
        for worker_id, raw in messages:
            try:
                message = parse_uplink(raw)
            except ValueError:
                log.warning("collect.unreadable", worker_id=worker_id)
                continue
            if message.worker_id != worker_id:
                log.warning("collect.foreign_name", worker_id=worker_id)
            elif isinstance(message, Heartbeat):
                # A heartbeat is state, so that only the newest counts.
                heartbeats[worker_id] = message
            elif message.attempt_id not in self._reports:
                self._reports[message.attempt_id] = asyncio.create_task(self._take_report(message))
        taken = await asyncio.gather(*map(self._take_heartbeat, heartbeats.values()), return_exceptions=True)
        for outcome in taken:
            if isinstance(outcome, BaseException):
                raise outcome

    async def _take_heartbeat(self, heartbeat: Heartbeat) -> None:
        async with self._room_for_heartbeats:
            wishes = await accept_heartbeat(self._studio, heartbeat)
            await send_wishes(self._redis, wishes)
            await self._saw(heartbeat)

    async def _take_report(self, report: Report) -> None:
        """Take it, and say so. Whatever goes wrong, it is sent again until it is acknowledged."""
        try:
            async with self._room_for_reports:
                await accept_report(self._studio, report)
                async with self._studio.db.reading() as session:
                    wishes = await wishes_of(session, report.worker_id, also=[report.attempt_id])
                await send_wishes(self._redis, wishes)
        except (StorageError, SQLAlchemyError, RedisError, OSError) as error:
            log.warning("report.waits", job_id=report.job_id, error=type(error).__name__)
        except Exception:  # an outer edge: one report must not end the leader
            log.exception("report.broke", job_id=report.job_id)
        finally:
            self._reports.pop(report.attempt_id, None)


async def send_wishes(redis: Redis, wishes: Wishes) -> None:
    """Write what is wanted of a worker, and wake it."""
    key = Mailbox(wishes.worker_id).wishes
    await redis.set(key, wishes.model_dump_json(), px=WISHES_TTL_MS)
    await redis.publish(key, "1")
