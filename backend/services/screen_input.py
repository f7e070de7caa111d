"""The slower check of what was sent, before a job may be dispatched: its images, and text that the rules doubt."""

import asyncio
import hashlib
from collections.abc import Callable

from sqlalchemy import update
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from backend import metrics
from backend.db import outbox
from backend.db.engine import after_commit
from backend.db.models import Job, ReviewCase, Upload
from backend.db.models import Verdict as VerdictRow
from backend.db.repositories import jobs, ledger
from backend.domain.events import Consumer, OutboxEvent
from backend.domain.generation import JobEvent, JobState
from backend.domain.review import CaseStage
from backend.ids import IdPrefix, new_id
from backend.services.build_order import load_uploads, spec_of
from backend.services.creator_text import text_for
from backend.studio import Studio
from moderation.policy import default_policy
from moderation.prompt_rules import judge_prompt
from moderation.verdict import Ruling, Surface, Verdict, worst

ImageJudge = Callable[[bytes], Ruling]
MAX_IMAGE_BYTES = 64 * 2**20


async def screen_input(studio: Studio, job_id: str, judge: ImageJudge) -> Verdict | None:
    """Give a queued job its input verdict. None: it waits for none any more. `judge` runs in a thread."""
    async with studio.db.reading() as session:
        job = await jobs.load(session, job_id)
        if job is None or job.state != JobState.QUEUED or job.input_verdict != "pending":
            return None
        uploads = await load_uploads(session, spec_of(job))
    policy = default_policy()
    rulings: list[tuple[str, str, str | None, Ruling]] = []
    for surface, words in ((Surface.PROMPT, job.prompt), (Surface.NEGATIVE_PROMPT, job.negative_prompt)):
        if words:
            digest = hashlib.sha256(words.encode()).hexdigest()
            rulings.append((surface.value, digest, None, judge_prompt(words, policy, surface=surface)))
    for upload in uploads.values():
        data = await studio.storage.get_bytes(upload.key, limit_bytes=MAX_IMAGE_BYTES)
        digest = hashlib.sha256(data).hexdigest()
        rulings.append(("image", digest, upload.id, await asyncio.to_thread(judge, data)))
    verdict = worst(ruling.verdict for *_rest, ruling in rulings)
    clause = next((r.clause for *_rest, r in rulings if r.verdict is verdict), None)
    return await _record(studio, job_id, rulings, verdict, clause)


async def _record(
    studio: Studio,
    job_id: str,
    rulings: list[tuple[str, str, str | None, Ruling]],
    verdict: Verdict,
    clause: str | None,
) -> Verdict | None:
    async with studio.db.transaction() as session:
        job = await session.get(Job, job_id, with_for_update=True)
        if job is None or job.state != JobState.QUEUED or job.input_verdict != "pending":
            return None
        counted = metrics.verdicts.labels(CaseStage.INPUT.value, verdict.value, clause or "")
        after_commit(session, counted.inc)
        for surface, digest, upload_id, ruling in rulings:
            session.add(
                VerdictRow(
                    id=new_id(IdPrefix.VERDICT),
                    job_id=job_id,
                    upload_id=upload_id,
                    stage=CaseStage.INPUT.value,
                    surface=surface,
                    sha256=digest,
                    verdict=ruling.verdict.value,
                    clause=ruling.clause,
                    findings=ruling.to_json(),
                    policy_version=ruling.policy_version,
                    classifier=ruling.classifier,
                )
            )
            if upload_id is not None:
                await session.execute(
                    update(Upload).where(col(Upload.id) == upload_id).values(verdict=ruling.verdict.value)
                )
        match verdict:
            case Verdict.ALLOW:
                job.input_verdict = "allow"
                event = OutboxEvent(consumer=Consumer.DISPATCH, subject=job_id)
                await outbox.put(session, [event], trace_id=job.trace_id)
            case Verdict.REVIEW:
                job.input_verdict = "review"
                job.clause = clause
                session.add(
                    ReviewCase(
                        id=new_id(IdPrefix.REVIEW_CASE),
                        job_id=job_id,
                        stage=CaseStage.INPUT.value,
                        clause=clause,
                    )
                )
            case Verdict.BLOCK:
                await block_input(session, job, clause)
    await studio.wakeups.account_changed(job.account_id, job_id)
    return verdict


async def block_input(session: AsyncSession, job: Job, clause: str | None) -> bool:
    """End a queued job as blocked, at no charge, in the caller's transaction. False: it had moved on."""
    if not await jobs.move(
        session,
        job,
        JobEvent.INPUT_BLOCKED,
        input_verdict="block",
        charged=0,
        clause=clause,
        error_code="moderation_blocked",
        error_message=text_for(clause),
    ):
        return False
    await ledger.end_hold(session, job.id, charge=0, reason="blocked")
    return True
