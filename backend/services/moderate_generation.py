"""The verdict on a rendered clip: bound to the sha256 of the very bytes that would be served.

What is judged is a copy under a key that no worker ever had a URL for. The judge, a moderator and the public see that
copy and no other, whatever a worker writes to its own objects meanwhile.
"""

import asyncio
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from math import ceil
from pathlib import Path, PurePosixPath

from sqlalchemy import func, update
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from backend import metrics
from backend.db import outbox
from backend.db.engine import after_commit
from backend.db.models import Artifact, Attempt, Job, ReviewCase
from backend.db.models import Verdict as VerdictRow
from backend.db.repositories import jobs, ledger
from backend.domain.artifact import ArtifactKind
from backend.domain.events import Consumer, OutboxEvent
from backend.domain.generation import JobEvent, JobState
from backend.domain.object_keys import judged_prefix
from backend.domain.review import CaseStage
from backend.ids import IdPrefix, new_id
from backend.recipes import has_small_world
from backend.scratch import scratch_folder
from backend.services.cancel_generation import cancel_in
from backend.services.creator_text import text_for
from backend.services.judge_worker import judge_worker
from backend.services.refuse_clip import refuse_clip
from backend.storage import ObjectNotFound, ObjectTooLarge, download
from backend.studio import Studio
from moderation.policy import default_policy
from moderation.scope import within_scope
from moderation.verdict import NotAsOrdered, Ruling, Surface, Verdict


@dataclass(frozen=True, kw_only=True)
class ClipFiles:
    """What is judged, as files; sizes are (width, height) in pixels, and fit what was ordered (`domain/clip_shape.py`).
    The spritesheet's pictures lie in `sheet_columns` by `sheet_rows`.
    """

    video: Path
    thumbnail: Path
    spritesheet: Path
    width: int
    height: int
    num_frames: int
    thumbnail_size: tuple[int, int]
    sheet_size: tuple[int, int]
    sheet_columns: int
    sheet_rows: int


ClipJudge = Callable[[ClipFiles], Ruling]


class BytesChanged(Exception):
    """An object in storage is not what its worker reported."""


async def moderate_generation(studio: Studio, job_id: str, judge: ClipJudge) -> Verdict | None:
    """Judge the clip, thumbnail and spritesheet of a job that waits for it. None: it doesn't wait any more.

    `judge` runs in a thread: what errs is a ruling for review. For files that are not as ordered, or can't be decoded
    within its limits, it raises `NotAsOrdered`: its worker has failed then, and another attempt makes the clip.
    A judge that was overtaken says nothing of what another attempt delivered meanwhile.
    """
    async with studio.db.reading() as session:
        job = await jobs.load(session, job_id)
        if job is None or job.state != JobState.MODERATING:
            return None
        fence = job.fence
        artifacts = (await session.exec(select(Artifact).where(Artifact.job_id == job_id))).all()
    copies = {artifact.id: _copy_key(artifact) for artifact in artifacts}
    try:
        with scratch_folder() as folder:
            files = await _fetch(studio, artifacts, copies, folder)
            judged = await asyncio.to_thread(judge, files)
    except (BytesChanged, NotAsOrdered, ObjectNotFound, ObjectTooLarge) as error:
        await refuse_clip(studio, job_id, f"{error} is not what was reported", fence=fence)
        return None
    small_world = has_small_world(job.recipe)
    ruling = within_scope(judged, default_policy(), surface=Surface.VIDEO, small_world=small_world)
    return await _record(studio, job_id, fence, artifacts, copies, ruling)


def _copy_key(artifact: Artifact) -> str:
    """A name of its own for each copy, so that a second judge touches nothing of the first one's.

    The sweep takes the copies that no row names.
    """
    name = f"{artifact.kind}-{secrets.token_hex(8)}{PurePosixPath(artifact.key).suffix}"
    return judged_prefix(artifact.job_id) + name


async def _fetch(
    studio: Studio, artifacts: Sequence[Artifact], copies: Mapping[str, str], folder: Path
) -> ClipFiles:
    """Copy what the worker wrote, and read the copies. Raises `BytesChanged` where one is not what was reported."""
    paths: dict[ArtifactKind, Path] = {}
    for artifact in artifacts:
        key = copies[artifact.id]
        await studio.storage.copy(artifact.key, key)
        path = folder / Path(key).name
        with path.open("wb") as file:
            sha256, _size = await download(studio.storage, key, file, limit_bytes=artifact.size_bytes)
        if sha256 != artifact.sha256:
            raise BytesChanged(artifact.kind)
        paths[ArtifactKind(artifact.kind)] = path
    of_kind = {ArtifactKind(artifact.kind): artifact for artifact in artifacts}
    video, sheet = of_kind[ArtifactKind.VIDEO], of_kind[ArtifactKind.SPRITESHEET]
    thumbnail = of_kind[ArtifactKind.THUMBNAIL]
    return ClipFiles(
        video=paths[ArtifactKind.VIDEO],
        thumbnail=paths[ArtifactKind.THUMBNAIL],
        spritesheet=paths[ArtifactKind.SPRITESHEET],
        width=video.width,
        height=video.height,
        num_frames=video.num_frames,
        thumbnail_size=(thumbnail.width, thumbnail.height),
        sheet_size=(sheet.width, sheet.height),
        sheet_columns=sheet.columns,
        sheet_rows=ceil(sheet.num_frames / sheet.columns),
    )


async def _record(
    studio: Studio,
    job_id: str,
    fence: int,
    artifacts: Sequence[Artifact],
    copies: Mapping[str, str],
    ruling: Ruling,
) -> Verdict | None:
    async with studio.db.transaction() as session:
        job = await session.get(Job, job_id, with_for_update=True)
        if job is None or job.state != JobState.MODERATING or job.fence != fence:
            return None
        counted = metrics.verdicts.labels(CaseStage.OUTPUT.value, ruling.verdict.value, ruling.clause or "")
        after_commit(session, counted.inc)
        for artifact in artifacts:
            await session.execute(
                update(Artifact)
                .where(col(Artifact.id) == artifact.id)
                .values(key=copies[artifact.id])
                .execution_options(synchronize_session=False)
            )
            session.add(
                VerdictRow(
                    id=new_id(IdPrefix.VERDICT),
                    job_id=job_id,
                    stage=CaseStage.OUTPUT.value,
                    surface=artifact.kind,
                    sha256=artifact.sha256,
                    verdict=ruling.verdict.value,
                    clause=ruling.clause,
                    findings=ruling.to_json(),
                    policy_version=ruling.policy_version,
                    classifier=ruling.classifier,
                )
            )
        match ruling.verdict:
            case Verdict.ALLOW:
                if await jobs.move(session, job, JobEvent.ALLOWED):
                    event = OutboxEvent(consumer=Consumer.PUBLISH, subject=job_id)
                    await outbox.put(session, [event], trace_id=job.trace_id)
            case Verdict.REVIEW:
                if await jobs.move(session, job, JobEvent.REVIEW_NEEDED, clause=ruling.clause):
                    session.add(
                        ReviewCase(
                            id=new_id(IdPrefix.REVIEW_CASE),
                            job_id=job_id,
                            stage=CaseStage.OUTPUT.value,
                            clause=ruling.clause,
                        )
                    )
                    if job.deleted_at is not None:
                        # Its owner threw it away: nobody has to look at it, and nobody pays for it.
                        await session.flush()
                        await cancel_in(session, job)
            case Verdict.BLOCK:
                await block_output(session, job, ruling.clause, evidence_kept=studio.settings.evidence_kept)
                if job.deleted_at is not None:
                    event = OutboxEvent(consumer=Consumer.SWEEP, subject=job_id)
                    await outbox.put(session, [event], trace_id=job.trace_id)
        # The worker last: lock order. Until now nobody knew whether it had made a clip.
        made_by = select(Attempt.worker_id).where(Attempt.job_id == job_id, Attempt.fence == job.fence)
        for worker_id in await session.exec(made_by):
            await judge_worker(session, worker_id)
    await studio.wakeups.account_changed(job.account_id, job_id)
    return ruling.verdict


async def block_output(
    session: AsyncSession, job: Job, clause: str | None, *, evidence_kept: timedelta
) -> bool:
    """End a rendered job as blocked, at no charge, in the caller's transaction. False: it had moved on.

    What was judged is kept as evidence for `evidence_kept`, and shown to nobody but moderators.
    """
    if not await jobs.move(
        session,
        job,
        JobEvent.OUTPUT_BLOCKED,
        charged=0,
        clause=clause,
        error_code="moderation_blocked",
        error_message=text_for(clause),
    ):
        return False
    await ledger.end_hold(session, job.id, charge=0, reason="blocked")
    await session.execute(
        update(Artifact)
        .where(col(Artifact.job_id) == job.id)
        .values(expires_at=func.now() + evidence_kept)
        .execution_options(synchronize_session=False)
    )
    return True
