"""The account's ledger as its owner reads it: what came in, what was spent or expired, and the balance after each."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby

from sqlalchemy import Row, text
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.auth.principal import Principal
from backend.domain.errors import InvalidField
from backend.studio import Studio

MAX_PAGE = 100
CHUNK = 500
"""Entries read at once. No transaction has as many lines."""

_OLDER = text(
    """
    SELECT e.id, e.transaction_id, e.amount, e.created_at, e.reason, h.job_id, left(j.prompt, 200) AS prompt
    FROM ledger_entries e LEFT JOIN holds h ON h.id = e.hold_id
         LEFT JOIN jobs j ON j.id = h.job_id AND j.deleted_at IS NULL
    WHERE e.account_id = :account_id AND e.book IN ('available', 'held') AND e.id < :before
    ORDER BY e.id DESC LIMIT :limit
    """
)
# What there is now, less what came since: the first page reads no history.
_BALANCE = text(
    """
    SELECT (SELECT coalesce(sum(remaining), 0) FROM grants WHERE account_id = :account_id AND remaining > 0)
         + (SELECT coalesce(sum(amount), 0) FROM holds WHERE account_id = :account_id AND state = 'open')
         - (SELECT coalesce(sum(amount), 0) FROM ledger_entries
            WHERE account_id = :account_id AND book IN ('available', 'held') AND id >= :before)
    """
)
_NEWEST = 2**62


@dataclass(frozen=True, kw_only=True)
class LedgerLine:
    """One change of what the account has. `amount` is signed; `balance` is after it, holds included.

    `prompt`: how that of the clip begins which it was spent on; empty for others, and once the clip is deleted.
    """

    id: int
    at: datetime
    amount: int
    balance: int
    reason: str
    job_id: str | None
    prompt: str = ""


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
    start = before if 0 < before < _NEWEST else _NEWEST
    async with studio.db.reading() as session:
        # One snapshot for the entries and for what they add up to.
        await session.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
        asked = {"account_id": principal.account_id, "before": start}
        balance = int((await session.execute(_BALANCE, asked)).scalar_one())
        lines = await _lines(session, principal.account_id, start, balance, limit + 1)
    return LedgerLines(items=tuple(lines[:limit]), has_more=len(lines) > limit)


async def _lines(
    session: AsyncSession, account_id: str, before: int, balance: int, limit: int
) -> list[LedgerLine]:
    """The newest `limit` lines before an entry.

    A hold and its release move credits between two books of the same owner: they add up to 0 and are left out. All
    lines of a transaction lie together, because the account's lock orders them.
    """
    lines: list[LedgerLine] = []
    while len(lines) < limit:
        asked = {"account_id": account_id, "before": before, "limit": CHUNK}
        rows = (await session.execute(_OLDER, asked)).all()
        groups = [tuple(group) for _, group in groupby(rows, key=lambda row: row.transaction_id)]
        if len(rows) == CHUNK:
            groups.pop()  # may go on in the next chunk
        for group in groups:
            line = _line(group, balance)
            balance -= line.amount
            before = line.id
            if line.amount:
                lines.append(line)
        if len(rows) < CHUNK:
            break
    return lines[:limit]


def _line(entries: Sequence[Row[tuple[object, ...]]], balance: int) -> LedgerLine:
    last = entries[-1]
    return LedgerLine(
        id=last.id,
        at=last.created_at,
        amount=sum(entry.amount for entry in entries),
        balance=balance,
        reason=last.reason,
        job_id=last.job_id,
        prompt=last.prompt or "",
    )
