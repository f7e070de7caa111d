"""When the storm is over: the whole of the books, the jobs, the storage and what clients remember, held together."""

import os
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import text
from sqlmodel import select

from backend.auth.principal import Principal
from backend.db.models import Artifact, Attempt, Job, Upload
from backend.domain.errors import Conflict, NotFound
from backend.services.check_ledger import check_ledger
from backend.services.decide_review import decide_review
from backend.services.sweep_generation import sweep_generation
from backend.services.sweep_uploads import sweep_uploads
from backend.storage.local import INCOMING, LocalStorage
from backend.studio import Studio
from tests.storm.invariants import (
    ArtifactRow,
    AttemptRow,
    JobRow,
    Rule,
    Struck,
    Violation,
    answers,
    charges,
    ended,
    fetchable,
    files,
    hasty,
    kept_words,
    once,
    still_live,
    survival,
    undone,
    unshown,
)
from tests.storm.load import Load

UNDO = timedelta(seconds=2)
_SPENT = text(
    "SELECT h.job_id, e.transaction_id, sum(e.amount) AS amount FROM ledger_entries e"
    " JOIN holds h ON h.id = e.hold_id WHERE e.book = 'spent' GROUP BY 1, 2"
)
_ALLOWED = text(
    "SELECT job_id, sha256, min(created_at) AS at FROM verdicts"
    " WHERE stage = 'output' AND verdict = 'allow' GROUP BY 1, 2"
)
_VERDICTS = text(
    "SELECT job_id || ' ' || surface || ' ' || classifier AS subject, count(*) AS times FROM verdicts"
    " WHERE stage = 'output' GROUP BY 1"
)
_CASES = text("SELECT job_id || ' ' || stage AS subject, count(*) AS times FROM review_cases GROUP BY 1")
_UNDONE = text("SELECT consumer, subject, tries FROM outbox WHERE done_at IS NULL AND consumer <> 'sweep'")
_OPEN_CASES = text("SELECT id FROM review_cases WHERE state = 'open' ORDER BY id LIMIT 20")


async def decide_open_cases(studio: Studio, moderator: Principal) -> None:
    """What a person does: every other clip that waits for one is allowed."""
    async with studio.db.reading() as session:
        cases = (await session.execute(_OPEN_CASES)).scalars().all()
    for case_id in cases:
        decision = "allow" if case_id[-1] < "g" else "block"
        try:
            await decide_review(studio, moderator, case_id, decision=decision, undo=UNDO)
        except (Conflict, NotFound):
            continue


async def left_to_do(studio: Studio) -> Counter[str]:
    """Events that somebody has still to take, by consumer, but for sweeps, which come later."""
    async with studio.db.reading() as session:
        return Counter(row.consumer for row in await session.execute(_UNDONE))


class Afterwards:
    """All that is judged once the last job has ended. Each part answers with what it found."""

    def __init__(self, studio: Studio, load: Load) -> None:
        self._studio = studio
        self._load = load
        self.states: Counter[str] = Counter()
        self.attempts: Counter[str] = Counter()
        self.drafts = 0

    async def judge(
        self, struck: Sequence[Struck], outages: Sequence[tuple[list[str], Struck]]
    ) -> list[Violation]:
        """Jobs, attempts, money and bytes. The web processes still answer."""
        memory = self._load.memory
        jobs, attempts, artifacts = await self._rows()
        self.states = Counter(job.state for job in jobs)
        self.attempts = Counter(attempt.cause or attempt.state for attempt in attempts)
        found = answers(memory.asked, jobs) + ended(jobs)
        found += kept_words(memory.cancelled, memory.deleted, jobs)
        found += hasty(attempts, struck) + still_live(attempts)
        for live, outage in outages:
            found += survival(attempts, live, outage, struck)
        found += await self._books(jobs)
        found += await self._served(jobs, artifacts)
        found += unshown(memory.fetched, artifacts)
        async with self._studio.db.reading() as session:
            for what, statement in (("judged", _VERDICTS), ("shown to a person", _CASES)):
                counts = {row.subject: int(row.times) for row in await session.execute(statement)}
                found += once(what, counts)
            found += undone([tuple(row) for row in await session.execute(_UNDONE)])
        return found

    async def sweep(self) -> list[Violation]:
        """Sweep as time would, then compare rows and files both ways. Nobody writes any more."""
        studio = self._studio
        jobs, _, _ = await self._rows()
        for job in jobs:
            await sweep_generation(studio, job.id)
        async with studio.db.transaction() as session:
            await session.execute(text("UPDATE uploads SET touched_at = touched_at - interval '2 days'"))
        while await sweep_uploads(studio):
            continue
        _, _, artifacts = await self._rows()
        async with studio.db.reading() as session:
            rows = (await session.exec(select(Upload))).all()
            uploads = {row.key: row.state for row in rows}
        keys = [info.key async for info in studio.storage.list_objects("")]
        return files(keys, artifacts, uploads)

    def sweep_drafts(self) -> list[Violation]:
        """What killed processes were just writing goes a day later, when the next process begins to write."""
        storage = self._studio.storage
        assert isinstance(storage, LocalStorage)
        folder = storage.root / INCOMING
        left = list(folder.iterdir()) if folder.is_dir() else []
        self.drafts = len(left)
        two_days_ago = time.time() - 2 * 24 * 3600
        for path in left:
            os.utime(path, (two_days_ago, two_days_ago))
        LocalStorage(storage.root, secret=b"", worker_url="")._prepare()
        return [
            Violation(rule=Rule.ORPHAN, subject=path.name, words="a draft that is never swept")
            for path in (folder.iterdir() if folder.is_dir() else ())
        ]

    async def _rows(self) -> tuple[list[JobRow], list[AttemptRow], list[ArtifactRow]]:
        async with self._studio.db.reading() as session:
            jobs = [
                JobRow(
                    id=row.id,
                    account_id=row.account_id,
                    seed=int(str(row.spec["seed"])),
                    state=row.state,
                    ended_at=row.ended_at,
                    deleted=row.deleted_at is not None,
                    quoted=row.quoted,
                    charged=row.charged,
                )
                for row in (await session.exec(select(Job))).all()
            ]
            attempts = [
                AttemptRow(
                    id=row.id,
                    job_id=row.job_id,
                    worker_id=row.worker_id,
                    state=row.state,
                    cause=row.cause,
                    ended_at=row.ended_at,
                )
                for row in (await session.exec(select(Attempt))).all()
            ]
            allowed = {(row.job_id, row.sha256): row.at for row in await session.execute(_ALLOWED)}
            artifacts = [
                ArtifactRow(
                    job_id=row.job_id,
                    kind=row.kind,
                    key=row.key,
                    sha256=row.sha256,
                    state=row.state,
                    released_at=row.released_at,
                    allowed_at=allowed.get((row.job_id, row.sha256)),
                )
                for row in (await session.exec(select(Artifact))).all()
            ]
        return jobs, attempts, artifacts

    async def _books(self, jobs: Sequence[JobRow]) -> list[Violation]:
        report = await check_ledger(self._studio)
        found = [Violation(rule=Rule.LEDGER, subject=each.subject, words=each.words) for each in report.named]
        spent: dict[str, list[int]] = defaultdict(list)
        async with self._studio.db.reading() as session:
            for row in await session.execute(_SPENT):
                spent[row.job_id].append(int(row.amount))
        return found + charges(jobs, spent)

    async def _served(self, jobs: Sequence[JobRow], artifacts: Sequence[ArtifactRow]) -> list[Violation]:
        done = {job.id for job in jobs if job.state == "completed" and not job.deleted}
        served: dict[tuple[str, str], str] = {}
        for row in artifacts:
            if row.job_id in done and row.job_id in self._load.memory.owners:
                sha256 = await self._load.fetch(row.job_id, row.kind)
                if sha256 is not None:
                    served[row.job_id, row.kind] = sha256
        # A job whose answer nobody read has no owner who would know its id.
        known = [job for job in jobs if job.id in self._load.memory.owners]
        return fetchable(known, artifacts, served)
