"""A moderator's decision. A block takes effect at once; an allow after its minute of undo, and not before."""

from datetime import timedelta

from sqlalchemy import func, text
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from backend import metrics
from backend.auth.principal import Principal
from backend.db import outbox
from backend.db.engine import after_commit
from backend.db.models import Artifact, AuditEntry, Job, ReviewCase
from backend.db.models import Verdict as VerdictRow
from backend.db.repositories import jobs
from backend.domain.errors import Conflict, InvalidField, NotFound
from backend.domain.events import Consumer, OutboxEvent
from backend.domain.generation import ENDS, InputVerdict, JobEvent, JobState
from backend.domain.review import UNDO, CaseStage, CaseState
from backend.ids import IdPrefix, new_id
from backend.services.moderate_generation import block_output
from backend.services.review_cases import require_moderator, require_stranger
from backend.services.screen_input import block_input
from backend.studio import Studio

DECISIONS = ("allow", "block")
MAX_NOTE_CHARS = 2000


async def decide_review(
    studio: Studio,
    principal: Principal,
    case_id: str,
    *,
    decision: str,
    note: str = "",
    undo: timedelta = UNDO,
) -> None:
    """Decide an open case that no other moderator has claimed; claiming it first is not needed.

    Raises `InvalidField`, `NotFound`, `Conflict` (decided already, or another moderator has it), `NotAllowed`.
    """
    require_moderator(principal)
    if decision not in DECISIONS:
        raise InvalidField(f"A decision is one of: {', '.join(DECISIONS)}.", param="decision")
    if len(note) > MAX_NOTE_CHARS:
        raise InvalidField(f"A note has at most {MAX_NOTE_CHARS} characters.", param="note")
    async with studio.db.transaction() as session:
        case, job = await _load(session, case_id)
        own = await require_stranger(session, principal, job.id)
        if case.state != CaseState.OPEN:
            raise Conflict("This case was decided already.")
        if case.claimed_by not in (None, principal.user_id):
            now = await session.scalar(select(func.clock_timestamp()))
            if case.claim_expires_at is not None and now is not None and case.claim_expires_at > now:
                raise Conflict("Another moderator has this case.")
        case.decision = decision
        case.decided_by = principal.user_id
        case.decided_at = await session.scalar(select(func.clock_timestamp()))
        case.note = note
        case.version += 1
        session.add(
            AuditEntry(
                actor_id=principal.user_id,
                action=f"review.{decision}",
                subject=case.id,
                detail={"job_id": job.id, "stage": case.stage, "clause": case.clause or "", "own_clip": own},
            )
        )
        if decision == "block":
            await _apply_block(session, case, job, studio.settings.evidence_kept)
        else:
            wait_s = undo.total_seconds()
            case.state = CaseState.DECIDED.value
            case.effective_at = await session.scalar(
                select(func.clock_timestamp() + text(f"interval '{wait_s} seconds'"))
            )
            event = OutboxEvent(
                consumer=Consumer.APPLY_DECISION,
                subject=case.id,
                payload={"version": case.version},
                delay_s=wait_s,
            )
            await outbox.put(session, [event], trace_id=job.trace_id)
        session.add(case)
    await studio.wakeups.account_changed(job.account_id, job.id)


async def undo_review(studio: Studio, principal: Principal, case_id: str) -> None:
    """Take back an allow within its minute. Raises `Conflict` once it took effect."""
    require_moderator(principal)
    async with studio.db.transaction() as session:
        case, job = await _load(session, case_id)
        if case.state != CaseState.DECIDED or case.decided_by != principal.user_id:
            raise Conflict("This decision can't be undone any more.")
        case.state = CaseState.OPEN.value
        case.decision = case.decided_by = case.decided_at = case.effective_at = None
        case.version += 1
        session.add(case)
        session.add(
            AuditEntry(
                actor_id=principal.user_id, action="review.undo", subject=case.id, detail={"job_id": job.id}
            )
        )


async def apply_decision(studio: Studio, case_id: str, version: int) -> None:
    """An allow whose minute of undo is over takes effect. One that was undone since does nothing."""
    async with studio.db.transaction() as session:
        case, job = await _load(session, case_id)
        if case.state != CaseState.DECIDED or case.version != version or case.decision != "allow":
            return
        case.state = CaseState.EFFECTIVE.value
        session.add(case)
        if JobState(job.state) in ENDS:
            case.state = CaseState.DROPPED.value
            return
        if case.stage == CaseStage.INPUT:
            _count(session, case, "allow")
            job.input_verdict = InputVerdict.ALLOW.value
            session.add(job)
            event = OutboxEvent(consumer=Consumer.DISPATCH, subject=job.id)
            await outbox.put(session, [event], trace_id=job.trace_id)
        else:
            await _allow_bytes(session, case, job)
    await studio.wakeups.account_changed(job.account_id, job.id)


async def _load(session: AsyncSession, case_id: str) -> tuple[ReviewCase, Job]:
    found = await session.get(ReviewCase, case_id)
    if found is None:
        raise NotFound(f"There is no case {case_id!r}.")
    # The job first, as everywhere, then the case.
    job = await session.get(Job, found.job_id, with_for_update=True)
    case = await session.get(ReviewCase, case_id, with_for_update=True, populate_existing=True)
    if job is None or case is None:
        raise NotFound(f"There is no case {case_id!r}.")
    return case, job


async def _apply_block(session: AsyncSession, case: ReviewCase, job: Job, evidence_kept: timedelta) -> None:
    case.state = CaseState.EFFECTIVE.value
    if case.stage == CaseStage.INPUT:
        done = await block_input(session, job, case.clause)
    else:
        done = await block_output(session, job, case.clause, evidence_kept=evidence_kept)
    if not done:
        case.state = CaseState.DROPPED.value
    else:
        await _write_verdicts(session, case, job, "block")
        _count(session, case, "block")


async def _allow_bytes(session: AsyncSession, case: ReviewCase, job: Job) -> None:
    if not await jobs.move(session, job, JobEvent.ALLOWED, clause=None):
        case.state = CaseState.DROPPED.value
        return
    await _write_verdicts(session, case, job, "allow")
    _count(session, case, "allow")
    await outbox.put(session, [OutboxEvent(consumer=Consumer.PUBLISH, subject=job.id)], trace_id=job.trace_id)


def _count(session: AsyncSession, case: ReviewCase, verdict: str) -> None:
    after_commit(session, metrics.verdicts.labels(case.stage, verdict, case.clause or "").inc)


async def _write_verdicts(session: AsyncSession, case: ReviewCase, job: Job, verdict: str) -> None:
    """A human's verdict is bound to the same bytes as the classifier's."""
    if case.stage == CaseStage.INPUT:
        return
    for artifact in (await session.exec(select(Artifact).where(Artifact.job_id == job.id))).all():
        session.add(
            VerdictRow(
                id=new_id(IdPrefix.VERDICT),
                job_id=job.id,
                stage=CaseStage.OUTPUT.value,
                surface=artifact.kind,
                sha256=artifact.sha256,
                verdict=verdict,
                clause=case.clause,
                policy_version="human",
                decided_by=case.decided_by,
            )
        )
