"""The account's ledger as its owner reads it: what came in, what was spent or expired, and the balance after each."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text

from backend.auth.principal import Principal
from backend.domain.errors import InvalidField
from backend.studio import Studio

MAX_PAGE = 100

# A hold and its release move credits between two books of the same owner: their sum over both is 0, and they are
# left out. What remains changed what the account has.
_PAGE = text(
    """
    SELECT max(e.id) AS id, min(e.created_at) AS at, sum(e.amount) AS amount, min(e.reason) AS reason,
           min(h.job_id) AS job_id
    FROM ledger_entries e LEFT JOIN holds h ON h.id = e.hold_id
    WHERE e.account_id = :account_id AND e.book IN ('available', 'held') AND (:before = 0 OR e.id < :before)
    GROUP BY e.transaction_id
    HAVING sum(e.amount) <> 0
    ORDER BY max(e.id) DESC
    LIMIT :limit
    """
)
_BALANCE = text(
    """
    SELECT coalesce(sum(amount), 0) FROM ledger_entries
    WHERE account_id = :account_id AND book IN ('available', 'held') AND (:before = 0 OR id < :before)
    """
)


@dataclass(frozen=True, kw_only=True)
class LedgerLine:
    """One change of what the account has. `amount` is signed; `balance` is after it, holds included."""

    id: int
    at: datetime
    amount: int
    balance: int
    reason: str
    job_id: str | None


@dataclass(frozen=True, kw_only=True)
class LedgerLines:
    """One page, newest first, and whether there is another; ask for it with `before` = the last line's id."""

    items: tuple[LedgerLine, ...]
    has_more: bool


async def list_ledger(
    studio: Studio, principal: Principal, *, before: int = 0, limit: int = 20
) -> LedgerLines:
    """A page of the ledger of the asker's account. Raises `InvalidField`."""
    if not 1 <= limit <= MAX_PAGE:
        raise InvalidField(f"limit is from 1 to {MAX_PAGE}, not {limit}.", param="limit")
    asked = {"account_id": principal.account_id, "before": before}
    async with studio.db.reading() as session:
        rows = (await session.execute(_PAGE, {**asked, "limit": limit + 1})).all()
        balance = int((await session.execute(_BALANCE, asked)).scalar_one())
    lines = []
    for row in rows[:limit]:
        amount = int(row.amount)
        lines.append(
            LedgerLine(
                id=int(row.id),
                at=row.at,
                amount=amount,
                balance=balance,
                reason=row.reason,
                job_id=row.job_id,
            )
        )
        balance -= amount
    return LedgerLines(items=tuple(lines), has_more=len(rows) > limit)
