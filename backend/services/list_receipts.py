"""The receipts of an account, newest first."""

from dataclasses import dataclass

from sqlmodel import col, select

from backend.auth.principal import Principal
from backend.db.models import Hold, Job
from backend.domain.errors import InvalidField
from backend.services.get_receipt import ReceiptView, receipts_of
from backend.studio import Studio

MAX_PAGE = 100


@dataclass(frozen=True, kw_only=True)
class ReceiptPage:
    """One page, and whether there is another; ask for it with `before` = the last receipt's `hold_id`."""

    items: tuple[ReceiptView, ...]
    has_more: bool


async def list_receipts(
    studio: Studio, principal: Principal, *, before: str = "", limit: int = 20
) -> ReceiptPage:
    """A page of receipts of the asker's account, of deleted clips too. Raises `InvalidField`."""
    if not 1 <= limit <= MAX_PAGE:
        raise InvalidField(f"limit is from 1 to {MAX_PAGE}, not {limit}.", param="limit")
    query = (
        select(Hold, Job)
        .join(Job, col(Job.id) == col(Hold.job_id))
        .where(Hold.account_id == principal.account_id)
        .order_by(col(Hold.id).desc())
        .limit(limit + 1)
    )
    if before:
        query = query.where(Hold.id < before)
    async with studio.db.reading() as session:
        rows = (await session.exec(query)).all()
        items = await receipts_of(session, rows[:limit])
    return ReceiptPage(items=tuple(items), has_more=len(rows) > limit)
