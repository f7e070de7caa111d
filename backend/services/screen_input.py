"""The slower check of what was sent, before a job may be dispatched: its images, and text that the rules doubt."""

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlmodel.ext.asyncio.session import AsyncSession

from backend import metrics
from backend.db import outbox
from backend.db.engine import after_commit
from backend.db.models import Job, ReviewCase
from backend.db.models import Verdict as VerdictRow
from backend.db.repositories import jobs, ledger
from backend.domain.events import Consumer, OutboxEvent
from backend.domain.generation import InputVerdict, JobEvent, JobState
from backend.domain.review import CaseStage
from backend.domain.upload import MAX_KEPT_BYTES
from backend.ids import IdPrefix, new_id
from backend.recipes import has_small_world
from backend.services.build_order import UnbuildableOrder, load_uploads, spec_of
from backend.services.creator_text import text_for
from backend.services.fail_unbuildable_job import fail_unbuildable_job
from backend.storage import ObjectNotFound, ObjectTooLarge
from backend.studio import Studio
from moderation.policy import default_policy
from moderation.prompt_rules import judge_prompt
from moderation.scope import within_scope
from moderation.verdict import Ruling, Surface, Verdict, worst

ImageJudge = Callable[[bytes], Ruling]


async def screen_input(studio: Studio, job_id: str, judge: ImageJudge) -> Verdict | None:
    """Give a queued job its input verdict. `judge` runs in a thread.

    None: it waits for none any more, or failed because an image of it is gone.
    """
    async with studio.db.reading() as session:
        job = await jobs.load(session, job_id)
    if job is None or job.state != JobState.QUEUED or job.input_verdict != InputVerdict.PENDING:
        return None
    try:
        rulings = await _judge(studio, job, judge)
    except (UnbuildableOrder, ObjectNotFound, ObjectTooLarge) as error:
        await fail_unbuildable_job(studio, job_id, f"{type(error).__name__}: {error}")
        return None
    verdict = worst(each.ruling.verdict for each in rulings)
    clause = next((each.ruling.clause for each in rulings if each.ruling.verdict is verdict), None)
    return await _record(studio, job_id, rulings, verdict, clause)


@dataclass(frozen=True, kw_only=True)
class _Screened:
    """The ruling on one thing that was sent: a text, or an image with its upload."""

    surface: Surface
    sha256: str
    ruling: Ruling
    upload_id: str | None = None


async def _judge(studio: Studio, job: Job, judge: ImageJudge) -> list[_Screened]:
    spec = spec_of(job)
    async with studio.db.reading() as session:
        uploads = await load_uploads(session, spec)
    policy = default_policy()
    rulings: list[_Screened] = []
    for surface, words in ((Surface.PROMPT, job.prompt), (Surface.NEGATIVE_PROMPT, job.negative_prompt)):
        if words:
            digest = hashlib.sha256(words.encode()).hexdigest()
            ruling = judge_prompt(words, policy, surface=surface)
            rulings.append(_Screened(surface=surface, sha256=digest, ruling=ruling))
    for upload in uploads.values():
        data = await studio.storage.get_bytes(upload.key, limit_bytes=MAX_KEPT_BYTES)
        digest = hashlib.sha256(data).hexdigest()
        ruling = within_scope(
            await asyncio.to_thread(judge, data),
            policy,
            surface=Surface.IMAGE,
            small_world=has_small_world(job.recipe),
        )
        rulings.append(_Screened(surface=Surface.IMAGE, sha256=digest, ruling=ruling, upload_id=upload.id))
    return rulings


async def _record(
    studio: Studio,
    job_id: str,
    rulings: Sequence[_Screened],
    verdict: Verdict,
    clause: str | None,
) -> Verdict | None:
    async with studio.db.transaction() as session:
        job = await session.get(Job, job_id, with_for_update=True)
        if job is None or job.state != JobState.QUEUED or job.input_verdict != InputVerdict.PENDING:
            return None
        counted = metrics.verdicts.labels(CaseStage.INPUT.value, verdict.value, clause or "")
        after_commit(session, counted.inc)
        for each in rulings:
            session.add(
                VerdictRow(
                    id=new_id(IdPrefix.VERDICT),
                    job_id=job_id,
                    upload_id=each.upload_id,
                    stage=CaseStage.INPUT.value,
                    surface=each.surface.value,
                    sha256=each.sha256,
                    verdict=each.ruling.verdict.value,
                    clause=each.ruling.clause,
                    findings=each.ruling.to_json(),
                    policy_version=each.ruling.policy_version,
                    classifier=each.ruling.classifier,
                )
            )
        match verdict:
            case Verdict.ALLOW:
                job.input_verdict = InputVerdict.ALLOW.value
                event = OutboxEvent(consumer=Consumer.DISPATCH, subject=job_id)
                await outbox.put(session, [event], trace_id=job.trace_id)
            case Verdict.REVIEW:
                job.input_verdict = InputVerdict.REVIEW.value
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
        input_verdict=InputVerdict.BLOCK.value,
        charged=0,
        clause=clause,
        error_code="moderation_blocked",
        error_message=text_for(clause),
    ):
        return False
    await ledger.end_hold(session, job.id, charge=0, reason="blocked")
    return True
