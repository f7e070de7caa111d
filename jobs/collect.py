"""Reads what workers send up: heartbeats renew leases, reports end attempts; answers with wishes.

A worker's host is not trusted. Whatever it writes into its keys costs itself and no other worker.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable

from redis.asyncio import Redis
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from backend.contracts import Heartbeat, Report, Wishes, parse_uplink
from backend.contracts.wire import Mailbox
from backend.db.bad_values import has_bad_values
from backend.ending import end_tasks
from backend.log import get_logger
from backend.services.accept_heartbeat import WorkerRemoved, accept_heartbeat
from backend.services.accept_report import accept_report
from backend.services.worker_wishes import wishes_of
from backend.storage import StorageError
from backend.studio import Studio
from jobs.hearing import Hearing
from jobs.refusals import Refusals
from jobs.uplinks import Uplinks

log = get_logger(__name__)

WISHES_TTL_MS = 120_000
HEARTBEATS_AT_ONCE = 6
REPORTS_AT_ONCE = 4
"""Together less than the control process's database connections."""
REPORTS_A_WORKER = 32
"""Taken one after another; what comes beside them is dropped, and sent again."""


class Collector:
    """One reader over all uplinks. `saw` hears of every heartbeat after it was recorded.

    Heartbeats are recorded before the next reading, so that having heard means having renewed. Reports look into
    storage and may take long: they are taken beside, each once at a time, and one at a time of each worker.
    """

    def __init__(
        self, studio: Studio, redis: Redis, hearing: Hearing, saw: Callable[[Heartbeat], Awaitable[None]]
    ) -> None:
        self._studio = studio
        self._redis = redis
        self._hearing = hearing
        self._saw = saw
        self._refusals = Refusals(studio.clock)
        self._uplinks = Uplinks(studio, redis, self._refusals)
        self._room_for_heartbeats = asyncio.Semaphore(HEARTBEATS_AT_ONCE)
        self._room_for_reports = asyncio.Semaphore(REPORTS_AT_ONCE)
        self._reports: dict[str, dict[str, asyncio.Task[None]]] = {}
        self._turns: dict[str, asyncio.Lock] = {}

    async def run(self) -> None:
        """Read for ever."""
        try:
            while True:
                try:
                    await self._take(await self._uplinks.read())
                    self._hearing.heard()
                except (RedisError, OSError, SQLAlchemyError) as error:
                    self._hearing.deaf()
                    log.warning("collect.waits", error=type(error).__name__)
                    await asyncio.sleep(0.5)
                except Exception:  # an outer edge: what nobody foresaw must not end the leader
                    self._hearing.deaf()
                    log.exception("collect.broke")
                    await asyncio.sleep(0.5)
        finally:
            taking = [task for of_worker in self._reports.values() for task in of_worker.values()]
            await end_tasks(*taking, within_s=5)

    async def _take(self, messages: Iterable[tuple[str, bytes]]) -> None:
        heartbeats: dict[str, Heartbeat] = {}
        for worker_id, raw in messages:
            try:
                message = parse_uplink(raw)
            except ValueError:
                self._refusals.note(worker_id, "unreadable")
                continue
            if message.worker_id != worker_id:
                self._refusals.note(worker_id, "foreign_name")
            elif isinstance(message, Heartbeat):
                # A heartbeat is state, so that only the newest counts.
                heartbeats[worker_id] = message
            else:
                self._begin_report(message)
        taken = await asyncio.gather(*map(self._take_heartbeat, heartbeats.values()), return_exceptions=True)
        for worker_id, outcome in zip(heartbeats, taken, strict=True):
            if outcome is not None and not self._is_its_own_fault(worker_id, outcome):
                raise outcome

    def _is_its_own_fault(self, worker_id: str, error: BaseException) -> bool:
        """Whether a heartbeat failed by what is in it. Being unable to record any is deafness instead."""
        if isinstance(error, WorkerRemoved):
            self._refusals.note(worker_id, "removed")
        elif has_bad_values(error):
            self._refusals.note(worker_id, "unreadable")
        elif isinstance(error, Exception) and not isinstance(error, RedisError | OSError | SQLAlchemyError):
            self._refusals.note(worker_id, "broke", error)
        else:
            return False
        return True

    async def _take_heartbeat(self, heartbeat: Heartbeat) -> None:
        async with self._room_for_heartbeats:
            wishes = await accept_heartbeat(self._studio, heartbeat)
            await send_wishes(self._redis, wishes)
            await self._saw(heartbeat)

    def _begin_report(self, report: Report) -> None:
        of_worker = self._reports.setdefault(report.worker_id, {})
        if report.attempt_id not in of_worker and len(of_worker) < REPORTS_A_WORKER:
            of_worker[report.attempt_id] = asyncio.create_task(self._take_report(report))

    async def _take_report(self, report: Report) -> None:
        """Take it, and say so. Whatever goes wrong, it is sent again until it is acknowledged."""
        worker_id = report.worker_id
        try:
            async with self._turns.setdefault(worker_id, asyncio.Lock()), self._room_for_reports:
                await accept_report(self._studio, report)
                async with self._studio.db.reading() as session:
                    wishes = await wishes_of(session, worker_id, also=[report.attempt_id])
                await send_wishes(self._redis, wishes)
        except Exception as error:  # noqa: BLE001  # an outer edge: one report must not end the leader
            if has_bad_values(error):
                self._refusals.note(worker_id, "unreadable")
            elif isinstance(error, StorageError | SQLAlchemyError | RedisError | OSError):
                log.warning("report.waits", job_id=report.job_id, error=type(error).__name__)
            else:
                self._refusals.note(worker_id, "broke", error)
        finally:
            of_worker = self._reports[worker_id]
            del of_worker[report.attempt_id]
            if not of_worker:
                del self._reports[worker_id]
                del self._turns[worker_id]


async def send_wishes(redis: Redis, wishes: Wishes) -> None:
    """Write what is wanted of a worker, and wake it."""
    key = Mailbox(wishes.worker_id).wishes
    await redis.set(key, wishes.model_dump_json(), px=WISHES_TTL_MS)
    await redis.publish(key, "1")
