"""What fell through: a step that is due, and of which no outbox row tells anybody. It is told of again.

Every step is asked for in the transaction that makes it due, so this finds nothing but what was lost outside of our
transactions: rows that a restored backup lacks, or that somebody deleted.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text

from backend.domain.events import Consumer
from backend.studio import Studio

_NOBODY_TOLD = """NOT EXISTS (
    SELECT 1 FROM outbox o WHERE o.consumer = {consumer} AND o.subject = {subject} AND o.done_at IS NULL)"""

# Jobs in a state out of which a step leads.
_STEPS = text(
    f"""
    INSERT INTO outbox (consumer, subject, payload, trace_id)
    SELECT step.consumer, j.id, '{{}}', j.trace_id
    FROM jobs j
    JOIN (VALUES ('queued', 'pending', 'screen_input'), ('moderating', NULL, 'moderate'),
                 ('approved', NULL, 'publish')) AS step(state, input_verdict, consumer)
      ON step.state = j.state AND (step.input_verdict IS NULL OR step.input_verdict = j.input_verdict)
    WHERE j.state IN ('queued','moderating','approved')
      AND coalesce(j.rendered_at, j.created_at) < now() - interval '1 minute'
      AND {_NOBODY_TOLD.format(consumer="step.consumer", subject="j.id")}
    LIMIT :limit
    RETURNING consumer
    """
)
# Allows whose minute of undo is over.
_DECISIONS = text(
    f"""
    INSERT INTO outbox (consumer, subject, payload, trace_id)
    SELECT 'apply_decision', c.id, jsonb_build_object('version', c.version), j.trace_id
    FROM review_cases c JOIN jobs j ON j.id = c.job_id
    WHERE c.state = 'decided' AND c.effective_at < now() - interval '1 minute'
      AND {_NOBODY_TOLD.format(consumer="'apply_decision'", subject="c.id")}
    LIMIT :limit
    RETURNING consumer
    """
)
# Artifacts that are gone, and whose bytes are not.
_SWEEPS = text(
    f"""
    INSERT INTO outbox (consumer, subject, payload, trace_id)
    SELECT 'sweep', j.id, '{{}}', j.trace_id FROM jobs j
    WHERE j.ended_at < now() - interval '1 minute'
      AND j.id IN (SELECT a.job_id FROM artifacts a WHERE a.state IN ('deleted','expired') AND a.swept_at IS NULL)
      AND {_NOBODY_TOLD.format(consumer="'sweep'", subject="j.id")}
    LIMIT :limit
    RETURNING consumer
    """
)
_WAITING = text(
    """
    SELECT id, created_at FROM jobs
    WHERE state = 'queued' AND input_verdict = 'allow' AND created_at < now() - interval '1 minute'
      AND (created_at, id) > (:created_at, :id)
    ORDER BY created_at, id LIMIT :limit
    """
)
_DISPATCHES = text(
    f"""
    INSERT INTO outbox (consumer, subject, payload, trace_id)
    SELECT 'dispatch', j.id, '{{}}', j.trace_id FROM jobs j
    WHERE j.id = ANY(:ids) AND j.state = 'queued' AND j.input_verdict = 'allow'
      AND {_NOBODY_TOLD.format(consumer="'dispatch'", subject="j.id")}
    RETURNING consumer
    """
)


@dataclass(frozen=True, kw_only=True)
class Mark:
    """How far the waiting jobs were looked through, oldest first."""

    created_at: datetime
    job_id: str


async def find_lost_steps(studio: Studio, *, limit: int = 1000) -> Counter[Consumer]:
    """Tell of at most `limit` lost steps of each kind again; how many there were, by consumer."""
    found: Counter[Consumer] = Counter()
    for statement in (_STEPS, _DECISIONS, _SWEEPS):
        async with studio.db.transaction() as session:
            rows = await session.execute(statement, {"limit": limit})
            found.update(Consumer(row.consumer) for row in rows)
    return found


async def find_lost_jobs(
    studio: Studio, waits: Callable[[str], bool], *, after: Mark | None = None, limit: int = 20_000
) -> tuple[int, Mark | None]:
    """Tell the leader again of jobs that may be dispatched and that it doesn't know, among `limit` of them.

    `waits` says whether it knows a job. Returns how many there were, and where to go on; None: all were looked at.
    """
    begin = {"created_at": after.created_at, "id": after.job_id} if after else _FROM_THE_OLDEST
    async with studio.db.reading() as session:
        rows = (await session.execute(_WAITING, {**begin, "limit": limit})).all()
    lost = await _tell_of(studio, [row.id for row in rows if not waits(row.id)])
    last = Mark(created_at=rows[-1].created_at, job_id=rows[-1].id) if len(rows) == limit else None
    return lost, last


_FROM_THE_OLDEST: dict[str, object] = {"created_at": datetime.fromisoformat("0001-01-02T00:00:00Z"), "id": ""}


async def _tell_of(studio: Studio, job_ids: Sequence[str]) -> int:
    """Tell of those that still wait: others were dispatched since they were read, or are told of already."""
    if not job_ids:
        return 0
    async with studio.db.transaction() as session:
        return len((await session.execute(_DISPATCHES, {"ids": list(job_ids)})).all())
