"""The receipt of a job: quoted, held, charged, refunded, from which grants, and why. It outlives the clip."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.auth.principal import Principal
from backend.db.models import Grant, Hold, HoldDraw, Job
from backend.domain.credits import Draw, GrantSource, HoldState, split
from backend.domain.errors import NotFound
from backend.domain.generation import JobState
from backend.domain.receipt import Charged, Outcome, outcome_of, why
from backend.domain.spec import GenerationSpec
from backend.studio import Studio


@dataclass(frozen=True, kw_only=True)
class DrawnView:
    """Part of a hold: from which grant, how much, and what became of it."""

    grant_id: str
    source: GrantSource
    expires_at: datetime | None
    held: int
    charged: int


@dataclass(frozen=True, kw_only=True)
class ReceiptView:
    """Credits of one job. `held` is what was set aside; of it `charged` was kept and `refunded` given back.

    Until the job has ended both are 0. `deleted`: there is no clip any more to go to.
    """

    hold_id: str
    job_id: str
    prompt: str
    model: str
    size: str
    num_frames: int
    steps: int
    state: HoldState
    outcome: Outcome
    why: str
    quoted: int
    held: int
    charged: int
    refunded: int
    held_at: datetime
    ended_at: datetime | None
    deleted: bool
    drawn: tuple[DrawnView, ...]


async def get_receipt(studio: Studio, principal: Principal, job_id: str) -> ReceiptView:
    """The receipt of a job of the asker's account. Raises `NotFound`."""
    async with studio.db.reading() as session:
        query = select(Hold, Job).join(Job, col(Job.id) == col(Hold.job_id))
        found = (
            await session.exec(query.where(Hold.job_id == job_id, Hold.account_id == principal.account_id))
        ).one_or_none()
        if found is None:
            raise NotFound(f"There is no video {job_id!r}.", param="video_id")
        return (await receipts_of(session, [found]))[0]


async def receipts_of(session: AsyncSession, rows: Sequence[tuple[Hold, Job]]) -> list[ReceiptView]:
    """Receipts of holds with their jobs, in one more query for all."""
    drawn: dict[str, list[tuple[HoldDraw, Grant]]] = {}
    found = await session.exec(
        select(HoldDraw, Grant)
        .join(Grant, col(Grant.id) == col(HoldDraw.grant_id))
        .where(col(HoldDraw.hold_id).in_([hold.id for hold, _ in rows]))
        .order_by(col(HoldDraw.hold_id), col(HoldDraw.position))
    )
    for draw, grant in found:
        drawn.setdefault(draw.hold_id, []).append((draw, grant))
    return [_receipt(hold, job, drawn.get(hold.id, [])) for hold, job in rows]


def _receipt(hold: Hold, job: Job, drawn: Sequence[tuple[HoldDraw, Grant]]) -> ReceiptView:
    charged = Charged(
        state=JobState(job.state),
        quoted=job.quoted,
        charged=job.charged,
        steps=job.steps,
        charged_steps=job.charged_steps,
        started=job.started_at is not None,
        rendered=job.rendered_at is not None,
    )
    state = HoldState(hold.state)
    spec = GenerationSpec.from_json(job.spec)
    draws = [Draw(grant_id=draw.grant_id, amount=draw.amount) for draw, _ in drawn]
    spent = {part.grant_id: part.amount for part in split(draws, hold.charged)[0]}
    return ReceiptView(
        hold_id=hold.id,
        job_id=job.id,
        prompt=job.prompt,
        model=job.recipe,
        size=spec.size,
        num_frames=spec.num_frames,
        steps=job.steps,
        state=state,
        outcome=outcome_of(charged),
        why=why(charged),
        quoted=job.quoted,
        held=hold.amount,
        charged=hold.charged,
        refunded=0 if state is HoldState.OPEN else hold.amount - hold.charged,
        held_at=hold.created_at,
        ended_at=hold.ended_at,
        deleted=job.deleted_at is not None,
        drawn=tuple(
            DrawnView(
                grant_id=grant.id,
                source=GrantSource(grant.source),
                expires_at=grant.expires_at,
                held=draw.amount,
                charged=spent.get(grant.id, 0),
            )
            for draw, grant in drawn
        ),
    )
