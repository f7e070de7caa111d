"""What moderators see: open cases with their evidence, taken one at a time under a lease."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, or_, text
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.auth.principal import Principal
from backend.db.models import Artifact, Job, ReviewCase, Upload, Verdict
from backend.domain.errors import Conflict, NotAllowed, NotFound
from backend.domain.review import CLAIM_LEASE, CaseState
from backend.domain.spec import GenerationSpec
from backend.studio import Studio


@dataclass(frozen=True, kw_only=True)
class CaseView:
    """One case. `artifact_kinds` are the kinds of evidence that can be fetched for it."""

    id: str
    job_id: str
    stage: str
    state: str
    clause: str | None
    prompt: str
    negative_prompt: str
    model: str
    opened_at: datetime
    claimed_by: str | None
    claim_expires_at: datetime | None
    decision: str | None
    decided_by: str | None
    effective_at: datetime | None
    note: str
    findings: tuple[dict[str, object], ...]
    artifact_kinds: tuple[str, ...]
    upload_ids: tuple[str, ...]


def require_moderator(principal: Principal) -> None:
    """Raises `NotAllowed` for anyone else."""
    if not principal.may_moderate:
        raise NotAllowed("Only moderators may see this.")


async def list_cases(studio: Studio, principal: Principal, *, limit: int = 50) -> list[CaseView]:
    """Open cases, oldest first, and decided ones whose minute of undo still runs."""
    require_moderator(principal)
    async with studio.db.reading() as session:
        rows = (
            await session.exec(
                select(ReviewCase)
                .where(col(ReviewCase.state).in_([CaseState.OPEN.value, CaseState.DECIDED.value]))
                .order_by(col(ReviewCase.opened_at), col(ReviewCase.id))
                .limit(limit)
            )
        ).all()
        return [await _view(session, row) for row in rows]


async def claim_case(studio: Studio, principal: Principal, case_id: str) -> CaseView:
    """Take a case, or renew the claim on it. Raises `Conflict` while another moderator has it."""
    require_moderator(principal)
    lease = text(f"interval '{int(CLAIM_LEASE.total_seconds())} seconds'")
    async with studio.db.transaction() as session:
        row = (
            await session.exec(
                select(ReviewCase)
                .where(
                    ReviewCase.id == case_id,
                    or_(
                        col(ReviewCase.claimed_by).is_(None),
                        col(ReviewCase.claimed_by) == principal.user_id,
                        col(ReviewCase.claim_expires_at) < func.clock_timestamp(),
                    ),
                )
                .with_for_update()
            )
        ).one_or_none()
        if row is None:
            if await session.get(ReviewCase, case_id) is None:
                raise NotFound(f"There is no case {case_id!r}.")
            raise Conflict("Another moderator has this case.")
        row.claimed_by = principal.user_id
        row.claim_expires_at = await session.scalar(select(func.clock_timestamp() + lease))
        session.add(row)
        await session.flush()
        return await _view(session, row)


async def evidence_key(studio: Studio, principal: Principal, case_id: str, kind: str) -> str:
    """Storage key of a case's evidence: an artifact kind, or an upload's id. Raises `NotFound`, `NotAllowed`."""
    require_moderator(principal)
    async with studio.db.reading() as session:
        case = await session.get(ReviewCase, case_id)
        if case is not None:
            artifact = select(col(Artifact.key)).where(Artifact.job_id == case.job_id, Artifact.kind == kind)
            if (key := await session.scalar(artifact)) is not None:
                return str(key)
            job = await session.get(Job, case.job_id)
            if job is not None and kind in GenerationSpec.from_json(job.spec).upload_ids:
                upload = await session.get(Upload, kind)
                if upload is not None:
                    return upload.key
    raise NotFound("There is no such evidence.")


async def _view(session: AsyncSession, row: ReviewCase) -> CaseView:
    job = await session.get(Job, row.job_id)
    assert job is not None
    verdicts = await session.exec(
        select(Verdict).where(Verdict.job_id == row.job_id, Verdict.stage == row.stage)
    )
    kinds = await session.exec(select(Artifact.kind).where(Artifact.job_id == row.job_id))
    return CaseView(
        id=row.id,
        job_id=row.job_id,
        stage=row.stage,
        state=row.state,
        clause=row.clause,
        prompt=job.prompt,
        negative_prompt=job.negative_prompt,
        model=job.recipe,
        opened_at=row.opened_at,
        claimed_by=row.claimed_by,
        claim_expires_at=row.claim_expires_at,
        decision=row.decision,
        decided_by=row.decided_by,
        effective_at=row.effective_at,
        note=row.note,
        findings=tuple(verdict.findings for verdict in verdicts),
        artifact_kinds=tuple(sorted(kinds)),
        upload_ids=GenerationSpec.from_json(job.spec).upload_ids,
    )
