"""What moderators see: open cases with their evidence, taken one at a time under a lease. Nobody judges their own."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, and_, func, or_, text
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.auth.principal import Principal, Role
from backend.db.models import Artifact, Job, Membership, ReviewCase, Upload, User, Verdict
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


def is_open_to(principal: Principal) -> ColumnElement[bool]:
    """Of a job, for a query: the asker may judge it."""
    strange = ~_is_own(principal)
    if principal.role is not Role.ADMIN:
        return strange
    belongs = select(Membership.user_id).where(
        col(Membership.account_id) == col(Job.account_id), col(Membership.user_id) == col(User.id)
    )
    stand_in = (
        select(User.id)
        .where(
            col(User.role).in_([Role.MODERATOR.value, Role.ADMIN.value]),
            col(User.suspended_at).is_(None),
            ~belongs.correlate(Job, User).exists(),
        )
        .correlate(Job)
    )
    return or_(strange, ~stand_in.exists())


async def require_stranger(session: AsyncSession, principal: Principal, job_id: str) -> bool:
    """Whether the asker judges a clip of their own after all: an admin whom nobody else could stand in for.

    Raises `NotAllowed` for any other clip of their own.
    """
    if not await session.scalar(select(_is_own(principal)).where(Job.id == job_id)):
        return False
    if await session.scalar(select(Job.id).where(Job.id == job_id, is_open_to(principal))) is None:
        raise NotAllowed("That is a clip of your own: another moderator decides on it.")
    return True


async def list_cases(studio: Studio, principal: Principal, *, limit: int = 50) -> list[CaseView]:
    """Open cases that the asker may judge, oldest first, and decided ones whose minute of undo still runs."""
    require_moderator(principal)
    async with studio.db.reading() as session:
        rows = (
            await session.exec(
                select(ReviewCase)
                .join(Job, col(Job.id) == ReviewCase.job_id)
                .where(col(ReviewCase.state).in_([CaseState.OPEN.value, CaseState.DECIDED.value]))
                .where(is_open_to(principal))
                .order_by(col(ReviewCase.opened_at), col(ReviewCase.id))
                .limit(limit)
            )
        ).all()
        return await _views(session, rows)


async def claim_case(studio: Studio, principal: Principal, case_id: str) -> CaseView:
    """Take an open case, or renew the claim on it.

    Raises `Conflict` while another moderator has it or when it was decided, `NotAllowed` for a clip of one's own.
    """
    require_moderator(principal)
    lease = text(f"interval '{int(CLAIM_LEASE.total_seconds())} seconds'")
    async with studio.db.transaction() as session:
        row = (
            await session.exec(
                select(ReviewCase)
                .where(
                    ReviewCase.id == case_id,
                    ReviewCase.state == CaseState.OPEN.value,
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
            found = await session.get(ReviewCase, case_id)
            if found is None:
                raise NotFound(f"There is no case {case_id!r}.")
            if found.state != CaseState.OPEN:
                raise Conflict("This case was decided already.")
            raise Conflict("Another moderator has this case.")
        await require_stranger(session, principal, row.job_id)
        row.claimed_by = principal.user_id
        row.claim_expires_at = await session.scalar(select(func.clock_timestamp() + lease))
        session.add(row)
        await session.flush()
        return await _view(session, row)


async def evidence_key(studio: Studio, principal: Principal, case_id: str, kind: str) -> str:
    """Storage key of a case's evidence: an artifact kind, or an upload's id.

    For whoever holds the claim on an open case, and for whoever allowed it while that can be undone. Raises
    `NotFound`, `NotAllowed`.
    """
    require_moderator(principal)
    holds = and_(
        col(ReviewCase.state) == CaseState.OPEN.value,
        col(ReviewCase.claimed_by) == principal.user_id,
        col(ReviewCase.claim_expires_at) > func.clock_timestamp(),
    )
    may_undo = and_(
        col(ReviewCase.state) == CaseState.DECIDED.value, col(ReviewCase.decided_by) == principal.user_id
    )
    async with studio.db.reading() as session:
        job = (
            await session.exec(
                select(Job)
                .join(ReviewCase, col(ReviewCase.job_id) == Job.id)
                .where(ReviewCase.id == case_id, or_(holds, may_undo))
            )
        ).one_or_none()
        if job is not None:
            artifact = select(col(Artifact.key)).where(Artifact.job_id == job.id, Artifact.kind == kind)
            if (key := await session.scalar(artifact)) is not None:
                return str(key)
            if kind in GenerationSpec.from_json(job.spec).upload_ids:
                upload = await session.get(Upload, kind)
                if upload is not None:
                    return upload.key
    raise NotFound("There is no such evidence.")


def _is_own(principal: Principal) -> ColumnElement[bool]:
    """Of a job: the asker belongs to its account."""
    return (
        select(Membership.user_id)
        .where(col(Membership.account_id) == col(Job.account_id), Membership.user_id == principal.user_id)
        .exists()
    )


async def _view(session: AsyncSession, row: ReviewCase) -> CaseView:
    return (await _views(session, [row]))[0]


async def _views(session: AsyncSession, rows: Sequence[ReviewCase]) -> list[CaseView]:
    """In three queries for all: their jobs, what was found, what evidence there is."""
    ids = {row.job_id for row in rows}
    jobs = {job.id: job for job in await session.exec(select(Job).where(col(Job.id).in_(ids)))}
    findings: dict[tuple[str | None, str], list[dict[str, object]]] = {}
    for verdict in await session.exec(
        select(Verdict).where(col(Verdict.job_id).in_(ids)).order_by(col(Verdict.created_at), col(Verdict.id))
    ):
        findings.setdefault((verdict.job_id, verdict.stage), []).append(verdict.findings)
    kinds: dict[str, list[str]] = {}
    for job_id, kind in await session.exec(
        select(Artifact.job_id, Artifact.kind).where(col(Artifact.job_id).in_(ids))
    ):
        kinds.setdefault(job_id, []).append(kind)
    return [
        CaseView(
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
            findings=tuple(findings.get((row.job_id, row.stage), ())),
            artifact_kinds=tuple(sorted(kinds.get(row.job_id, ()))),
            upload_ids=GenerationSpec.from_json(job.spec).upload_ids,
        )
        for row in rows
        for job in (jobs[row.job_id],)
    ]
