"""Looks at the database all through the storm: what must hold at any moment is judged at each sample."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import cast

import asyncpg
import httpx
from redis.asyncio import Redis
from redis.exceptions import RedisError

from backend.domain.generation import ENDS, JobState
from backend.settings import Settings
from backend.storage.local import LocalStorage
from tests.storm.invariants import (
    TAKEOVER,
    JobSeen,
    LiveAttempt,
    Rule,
    Sample,
    Struck,
    Violation,
    changes,
    deaf_until,
    leaderless,
    overdue,
    unheld,
)
from tests.storm.plan import WEBS, WORKERS, Kind

SAMPLE_S = 0.5
STILL_S = 1.0
"""Between two samples, when the machine is too busy to be judged by its times; a leader is deaf after 3 s of it."""
QUERY_S = 5.0
TERM_LEASE = timedelta(seconds=4)
LEADS_WITHIN = timedelta(seconds=30)
"""After the last deafening fault: a takeover, and the start of two processes on a busy machine."""
RECOVERS_WITHIN_S = 60.0

_JOBS = "SELECT id, account_id, state, version, fence, steps_done, ended_at FROM jobs"
_LIVE = "SELECT id, job_id, worker_id, lease_expires_at FROM attempts WHERE state IN ('ordered', 'running')"
_LEADER = "SELECT expires_at FROM leader_terms WHERE name = 'dispatch' AND expires_at > statement_timestamp()"
_WORKERS = "SELECT id, heartbeat_at FROM workers"
_WITHHELD = "SELECT job_id, key FROM artifacts WHERE state = 'withheld' AND key LIKE 'judged/%'"


@dataclass(kw_only=True)
class Recovery:
    """How long it took until all did their work again, by evidence younger than the fault's end."""

    struck: Struck
    after_s: float | None = None
    undisturbed_s: float | None = None
    """Of these the last without another fault, on a machine that had time."""


@dataclass(kw_only=True)
class Seen:
    """What the watcher has to tell."""

    samples: int = 0
    blind_s: float = 0.0
    still_s: float = 0.0
    violations: dict[tuple[Rule, str], Violation] = field(default_factory=dict)
    recoveries: list[Recovery] = field(default_factory=list)


class Watcher:
    """Samples for ever. `struck` gives all faults so far, those that go on as if they ended now; `over` the others."""

    def __init__(
        self,
        settings: Settings,
        bases: Sequence[str],
        struck: Callable[[], Sequence[Struck]],
        over: Callable[[], Sequence[Struck]],
    ) -> None:
        self._settings = settings
        self._bases = bases
        self._struck = struck
        self._over = over
        self._stood_still_at = datetime.now(UTC)
        self._connection: asyncpg.Connection | None = None
        self._unwell_until = datetime.now(UTC)
        self._webs_answered_at: dict[str, datetime] = {}
        self._sampled_at = time.monotonic()
        self._valkey_answered_at: datetime | None = None
        self.seen = Seen()
        self.latest: Sample | None = None
        self.withheld: list[tuple[str, str]] = []
        self._signer = LocalStorage(
            settings.data_dir / "storage", secret=settings.secret("url-signing"), worker_url=""
        )

    def under_way(self, account_id: str) -> list[str]:
        """The jobs of an account that had not ended at the last sample."""
        if self.latest is None:
            return []
        jobs = self.latest.jobs.values()
        return [job.id for job in jobs if job.account_id == account_id and job.state not in ENDS]

    def all_ended(self) -> bool:
        """Whether no job is under way."""
        return self.latest is not None and all(job.state in ENDS for job in self.latest.jobs.values())

    @property
    def stands_still(self) -> bool:
        """Whether the machine has no time: a sample is overdue."""
        return time.monotonic() - self._sampled_at > STILL_S

    def live(self) -> list[str]:
        """Attempts that live."""
        return [attempt.id for attempt in self.latest.live] if self.latest is not None else []

    async def run(self) -> None:
        """Sample until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._sample_for_ever())
            group.create_task(self._ask_webs())
            group.create_task(self._ask_valkey())

    async def _sample_for_ever(self) -> None:
        try:
            while True:
                began = time.monotonic()
                try:
                    async with asyncio.timeout(QUERY_S):
                        self._judge(await self._sample())
                except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError):
                    self._unwell_until = datetime.now(UTC)
                    self.seen.blind_s += time.monotonic() - began + SAMPLE_S
                    self._forget_connection()
                await asyncio.sleep(SAMPLE_S)
        finally:
            self._forget_connection()

    def _forget_connection(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    async def _sample(self) -> Sample:
        if self._connection is None:
            self._connection = await asyncpg.connect(
                self._settings.require_database_url(), server_settings={"application_name": "storm"}
            )
        connection = self._connection
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            jobs = {row["id"]: JobSeen(**row) for row in await connection.fetch(_JOBS)}
            live = [LiveAttempt(**row) for row in await connection.fetch(_LIVE)]
            at = await connection.fetchval("SELECT now()")
            expires_at = await connection.fetchval(_LEADER)
            heartbeats = {row["id"]: row["heartbeat_at"] for row in await connection.fetch(_WORKERS)}
            judged_at = await connection.fetchval("SELECT max(created_at) FROM verdicts")
            withheld = await connection.fetch(_WITHHELD)
        self.withheld = [
            (row["job_id"], await self._signer.signed_get(row["key"], ttl=timedelta(minutes=30)))
            for row in withheld
        ]
        return Sample(
            at=at,
            jobs=jobs,
            live=live,
            leads=expires_at is not None,
            renewed_at=expires_at - TERM_LEASE if expires_at is not None else None,
            heartbeats=heartbeats,
            judged_at=judged_at,
        )

    def _judge(self, sample: Sample) -> None:
        self.seen.samples += 1
        struck = self._struck()
        now_s = time.monotonic()
        if self.stands_still:
            # The machine had no time for us, and so none for a leader.
            self._stood_still_at = sample.at
            self.seen.still_s += now_s - self._sampled_at
        if not sample.leads:
            self._unwell_until = sample.at
        self._sampled_at = now_s
        deaf = max(deaf_until(struck, self._stood_still_at), self._unwell_until + TAKEOVER)
        found = changes(self.latest.jobs, sample.jobs) if self.latest is not None else []
        found += overdue(sample, deaf) + unheld(sample)
        found += leaderless(sample, deaf_until(struck, self._stood_still_at), LEADS_WITHIN)
        for each in found:
            self.seen.violations.setdefault((each.rule, each.subject), each)
        self.latest = sample
        self._note_recoveries(sample)

    def _note_recoveries(self, sample: Sample) -> None:
        over = self._over()
        self.seen.recoveries += [Recovery(struck=each) for each in over[len(self.seen.recoveries) :]]
        for recovery in self.seen.recoveries:
            if recovery.after_s is None and self._is_well_since(recovery.struck, sample):
                ended_at = recovery.struck.ended_at
                disturbed = [each.ended_at for each in self._struck() if each.ended_at <= sample.at]
                recovery.after_s = max(0.0, (sample.at - ended_at).total_seconds())
                quiet_since = max(ended_at, self._stood_still_at, *disturbed)
                recovery.undisturbed_s = max(0.0, (sample.at - quiet_since).total_seconds())

    def _is_well_since(self, struck: Struck, sample: Sample) -> bool:
        """Whether database, leader, workers, Valkey and web processes have all worked after this fault's end.

        But for those that another fault has struck since.
        """
        # What was already on its way when it ended proves nothing.
        since = struck.ended_at + timedelta(seconds=0.3)
        elsewhere = {each.target for each in self._struck() if each.ended_at > struck.ended_at}
        evidence = [sample.renewed_at, self._valkey_answered_at]
        evidence += [self._webs_answered_at.get(name) for name in WEBS if name not in elsewhere]
        evidence += [sample.heartbeats.get(name) for name in WORKERS if name not in elsewhere]
        if struck.kind is Kind.KILL_MODERATOR and _waits_for_judgement(sample):
            evidence.append(sample.judged_at)
        return all(moment is not None and moment > since for moment in evidence)

    async def _ask_webs(self) -> None:
        async with httpx.AsyncClient(timeout=2.0, trust_env=False) as client:
            while True:
                asked_at = datetime.now(UTC)
                for name, base in zip(WEBS, self._bases, strict=True):
                    with contextlib.suppress(httpx.HTTPError):
                        (await client.get(f"{base}/healthz")).raise_for_status()
                        self._webs_answered_at[name] = asked_at
                await asyncio.sleep(SAMPLE_S)

    async def _ask_valkey(self) -> None:
        redis = Redis.from_url(
            self._settings.require_redis_url(), socket_timeout=2.0, socket_connect_timeout=2.0
        )
        try:
            while True:
                asked_at = datetime.now(UTC)
                try:
                    await cast("Awaitable[bool]", redis.ping())
                    self._valkey_answered_at = asked_at
                except (RedisError, OSError):
                    self._unwell_until = datetime.now(UTC)
                await asyncio.sleep(SAMPLE_S)
        finally:
            await redis.aclose()


def _waits_for_judgement(sample: Sample) -> bool:
    return any(job.state == JobState.MODERATING for job in sample.jobs.values())
