"""A worker's last word on an attempt. A stale fence is refused; the same report twice does nothing."""

from sqlalchemy import func
from sqlalchemy.dialects.postgresql import insert
from sqlmodel.ext.asyncio.session import AsyncSession

from backend import metrics
from backend.contracts import Outcome, Report, ReportedArtifact
from backend.db import outbox
from backend.db.models import Artifact, Attempt, Job
from backend.db.repositories import jobs
from backend.domain.artifact import CONTENT_TYPES, SERVED, ArtifactKind, ArtifactState
from backend.domain.attempt import LIVE, AttemptState, Cause
from backend.domain.clip_shape import ReportedShape, misfit
from backend.domain.events import Consumer, OutboxEvent
from backend.domain.generation import JobEvent
from backend.domain.object_keys import attempt_prefix
from backend.ids import IdPrefix, new_id
from backend.services.build_order import UnbuildableOrder, own_checkpoint, spec_of
from backend.services.return_job import return_job
from backend.storage import ObjectNotFound
from backend.studio import Studio


async def accept_report(studio: Studio, report: Report) -> None:
    """Take it. After the commit the attempt has ended, which is what acknowledges the report."""
    complaint = await _complaint(studio, report) if report.outcome is Outcome.DONE else None
    async with studio.db.transaction() as session:
        # The job first, as everywhere, so that a cancel and a report never wait for each other.
        job = await session.get(Job, report.job_id, with_for_update=True)
        attempt = await session.get(Attempt, report.attempt_id, with_for_update=True)
        if job is None or attempt is None or not _current(attempt, job, report):
            if job is not None and report.fence < job.fence:
                metrics.stale_reports.inc()
            return
        attempt.steps_done = max(attempt.steps_done, report.steps_done)
        attempt.resumed_from_step = report.resumed_from_step
        attempt.exact_resume = report.exact_resume
        attempt.identity = report.identity
        attempt.timings = report.timings.model_dump(mode="json")
        session.add(attempt)
        await session.flush()
        await _end(session, job, attempt, report, complaint)
    await studio.wakeups.account_changed(job.account_id, job.id)


def _current(attempt: Attempt, job: Job, report: Report) -> bool:
    return (
        attempt.job_id == job.id
        and attempt.worker_id == report.worker_id
        and attempt.fence == report.fence == job.fence
        and attempt.state in LIVE
    )


async def _end(
    session: AsyncSession, job: Job, attempt: Attempt, report: Report, complaint: str | None
) -> None:
    match report.outcome:
        case Outcome.DONE if complaint is None:
            await _keep_clip(session, job, attempt, report)
        case Outcome.DONE:
            await return_job(
                session,
                attempt,
                AttemptState.FAILED,
                cause=Cause.STORAGE_ERROR,
                message=complaint or "",
            )
        case Outcome.FAILED:
            cause = Cause((report.cause or Cause.ENGINE_ERROR).value)
            await return_job(session, attempt, AttemptState.FAILED, cause=cause, message=report.message)
        case Outcome.HANDED_BACK | Outcome.PREEMPTED | Outcome.STOPPED:
            preempted = report.outcome is Outcome.PREEMPTED
            await return_job(
                session,
                attempt,
                AttemptState.PREEMPTED if preempted else AttemptState.HANDED_BACK,
                cause=Cause.PREEMPTED if preempted else Cause.HANDED_BACK,
                message=report.message,
                checkpoint=own_checkpoint(job, attempt.fence, report.checkpoint),
            )


async def _keep_clip(session: AsyncSession, job: Job, attempt: Attempt, report: Report) -> None:
    if not await jobs.end_attempt(session, attempt, AttemptState.DONE):
        return
    if not await jobs.move(
        session,
        job,
        JobEvent.RENDERED,
        rendered_at=func.clock_timestamp(),
        started_at=job.started_at or func.clock_timestamp(),
        steps_done=job.steps,
        checkpoint=None,
    ):
        return
    spec = spec_of(job)
    for artifact in report.artifacts:
        kind = ArtifactKind(artifact.kind)
        moves = kind is ArtifactKind.VIDEO
        row = {
            "fence": attempt.fence,
            "key": artifact.key,
            "sha256": artifact.sha256,
            "size_bytes": artifact.size_bytes,
            "content_type": CONTENT_TYPES[kind],
            "width": artifact.width,
            "height": artifact.height,
            "num_frames": artifact.num_frames,
            "columns": artifact.columns,
            "fps": float(spec.fps) if moves else 0.0,
            "duration_s": spec.num_frames / spec.fps if moves else 0.0,
            "state": ArtifactState.WITHHELD.value,
        }
        await session.execute(
            insert(Artifact)
            .values(id=new_id(IdPrefix.ARTIFACT), job_id=job.id, kind=artifact.kind, **row)
            .on_conflict_do_nothing(constraint="artifacts_one_a_kind")
        )
    await outbox.put(
        session,
        [
            OutboxEvent(consumer=Consumer.MODERATE, subject=job.id),
            OutboxEvent(consumer=Consumer.DISPATCH, subject=job.id),
        ],
        trace_id=job.trace_id,
    )


async def _complaint(studio: Studio, report: Report) -> str | None:
    """What is wrong with a finished attempt's objects, or None. Looks into storage, before any transaction."""
    async with studio.db.reading() as session:
        job = await jobs.load(session, report.job_id)
    if job is None:
        return "there is no such job"
    try:
        spec = spec_of(job)
    except UnbuildableOrder as error:
        return str(error)
    prefix = attempt_prefix(report.job_id, report.fence)
    kinds = {artifact.kind for artifact in report.artifacts}
    if kinds != {kind.value for kind in SERVED} or len(report.artifacts) != len(SERVED):
        return f"reported {sorted(kinds)}"
    for artifact in report.artifacts:
        if not artifact.key.startswith(prefix):
            return f"{artifact.kind} has a foreign key"
        if (complaint := misfit(ArtifactKind(artifact.kind), _shape(artifact), spec)) is not None:
            return complaint
        try:
            info = await studio.storage.head(artifact.key)
        except ObjectNotFound:
            return f"{artifact.kind} is not in storage"
        if info.size_bytes != artifact.size_bytes:
            return f"{artifact.kind} has {info.size_bytes} bytes, not {artifact.size_bytes}"
    return None


def _shape(artifact: ReportedArtifact) -> ReportedShape:
    return ReportedShape(
        width=artifact.width,
        height=artifact.height,
        num_frames=artifact.num_frames,
        columns=artifact.columns,
        size_bytes=artifact.size_bytes,
    )
