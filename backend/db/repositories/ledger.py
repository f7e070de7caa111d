"""Grants, holds and their entries as rows. `domain.credits` decides; the beginning of a hold is in
`db/sql/submit_generation_v1.sql`.

Whatever changes an account's grants holds the lock of its row: job, attempt, account, hold, grants, in this order.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ARRAY, BigInteger, DateTime, Integer, Text, bindparam, func, text, update
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from backend import metrics
from backend.db.engine import after_commit
from backend.db.models import Grant, Hold, HoldDraw, Job
from backend.domain import credits
from backend.domain.credits import Change, Draw, Entry, GrantSource, GrantState, HoldState
from backend.ids import IdPrefix, new_id

_OF_JOB = text(
    "SELECT a.id FROM holds h JOIN accounts a ON a.id = h.account_id WHERE h.job_id = :job_id"
    " FOR NO KEY UPDATE OF a"
)
_SAVE = text(
    "UPDATE grants SET remaining = :remaining, expired = :expired, reversed = :reversed, owed = :owed,"
    " expires_at = :expires_at, extended = :extended WHERE id = :grant_id"
)
_WRITE = text(
    """
    INSERT INTO ledger_entries (transaction_id, account_id, book, amount, grant_id, hold_id, reason)
    SELECT line.transaction_id, line.account_id, line.book, line.amount, line.grant_id, :hold_id, line.reason
    FROM unnest(:transaction_ids, :account_ids, :books, :amounts, :grant_ids, :reasons)
      WITH ORDINALITY AS line(transaction_id, account_id, book, amount, grant_id, reason, position)
    ORDER BY line.position
    """
).bindparams(
    bindparam("transaction_ids", type_=ARRAY(Text)),
    bindparam("account_ids", type_=ARRAY(Text)),
    bindparam("books", type_=ARRAY(Text)),
    bindparam("amounts", type_=ARRAY(BigInteger)),
    bindparam("grant_ids", type_=ARRAY(Text)),
    bindparam("reasons", type_=ARRAY(Text)),
    bindparam("hold_id", type_=Text),
)
_GIVE = text(
    """
    INSERT INTO grants (id, account_id, source, amount, remaining, reason, external_ref, expires_at)
    SELECT * FROM unnest(:ids, :accounts, :sources, :amounts, :amounts, :reasons, :refs, :ends)
    ON CONFLICT (external_ref) DO NOTHING RETURNING id
    """
).bindparams(
    *(bindparam(name, type_=ARRAY(Text)) for name in ("ids", "accounts", "sources", "reasons", "refs")),
    bindparam("amounts", type_=ARRAY(Integer)),
    bindparam("ends", type_=ARRAY(DateTime(timezone=True))),
)
_ENDED = text(
    """
    SELECT g.id, g.account_id, g.amount, g.remaining, g.expired, g.expires_at
    FROM grants g JOIN accounts a ON a.id = g.account_id
    WHERE g.remaining > 0 AND g.expires_at <= clock_timestamp() AND (:of = '' OR g.account_id = :of)
    ORDER BY g.expires_at LIMIT :limit
    FOR NO KEY UPDATE OF a, g SKIP LOCKED
    """
)
_EXPIRE = text(
    "UPDATE grants SET remaining = 0, expired = expired + remaining WHERE id = ANY(:ids)"
).bindparams(bindparam("ids", type_=ARRAY(Text)))
_STANDING = text(
    """
    SELECT coalesce(sum(g.remaining) FILTER (WHERE g.expires_at IS NULL OR g.expires_at > now()), 0) AS available,
           (SELECT coalesce(sum(amount), 0) FROM holds WHERE account_id = a.id AND state = 'open') AS held,
           (SELECT coalesce(sum(owed), 0) FROM grants WHERE account_id = a.id AND owed > 0) AS owed,
           a.credited_month < to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM')
             OR coalesce(bool_or(g.expires_at <= now()), false) AS due
    FROM accounts a LEFT JOIN grants g ON g.account_id = a.id AND g.remaining > 0
    WHERE a.id = :account_id GROUP BY a.id
    """
)


@dataclass(frozen=True, kw_only=True)
class Standing:
    """An account's credits now. `due`: it has a month to settle, or an ended grant to write off."""

    available: int
    held: int
    owed: int
    due: bool


@dataclass(frozen=True, kw_only=True)
class NewGrant:
    """A grant to be given. `external_ref` makes one from outside, or of a month, happen once (unique)."""

    account_id: str
    source: GrantSource
    amount: int
    expires_at: datetime | None
    reason: str = ""
    external_ref: str | None = None


@dataclass(frozen=True, kw_only=True)
class Line:
    """An entry with the transaction that it belongs to."""

    transaction_id: str
    account_id: str
    entry: Entry
    reason: str


async def lock_account(session: AsyncSession, account_id: str) -> datetime:
    """Wait for the lock that orders an account's ledger; gives the database's time from then on."""
    await session.execute(text("SELECT 1 FROM accounts WHERE id = :id FOR NO KEY UPDATE"), {"id": account_id})
    return await now_of(session)


async def now_of(session: AsyncSession) -> datetime:
    """The database's clock, now and not when the transaction began."""
    moment = (await session.execute(select(func.clock_timestamp()))).scalar_one()
    assert isinstance(moment, datetime)
    return moment


async def add_grant(
    session: AsyncSession,
    *,
    account_id: str,
    source: GrantSource,
    amount: int,
    expires_at: datetime | None,
    reason: str = "",
    created_by: str | None = None,
    external_ref: str | None = None,
) -> Grant:
    """Give credits. Raises `IntegrityError` where `external_ref` was given before."""
    await lock_account(session, account_id)
    new = NewGrant(
        account_id=account_id,
        source=source,
        amount=amount,
        expires_at=expires_at,
    )
    grant = Grant(
        id=new_id(IdPrefix.GRANT),
        account_id=account_id,
        source=source.value,
        amount=amount,
        remaining=amount,
        reason=reason,
        created_by=created_by,
        external_ref=external_ref,
        expires_at=expires_at,
    )
    session.add(grant)
    await session.flush()
    await _write(session, _issued([(grant.id, new)]))
    return grant


async def add_grants(session: AsyncSession, grants: Sequence[NewGrant]) -> int:
    """Give many at once, to accounts that the caller has locked; returns how many.

    Those whose `external_ref` was given before are left out.
    """
    if not grants:
        return 0
    named = {new_id(IdPrefix.GRANT): new for new in grants}
    given = (
        await session.execute(
            _GIVE,
            {
                "ids": list(named),
                "accounts": [new.account_id for new in grants],
                "sources": [new.source.value for new in grants],
                "amounts": [new.amount for new in grants],
                "reasons": [new.reason for new in grants],
                "refs": [new.external_ref for new in grants],
                "ends": [new.expires_at for new in grants],
            },
        )
    ).scalars()
    issued = [(grant_id, named[grant_id]) for grant_id in given]
    await _write(session, _issued(issued))
    return len(issued)


async def end_hold(session: AsyncSession, job_id: str, *, charge: int, reason: str) -> bool:
    """Settle (`charge` > 0) or release the job's hold. False: it had ended before.

    What goes back to a grant that expired meanwhile stays usable for `RETURN_GRACE`.
    """
    if (await session.execute(_OF_JOB, {"job_id": job_id})).one_or_none() is None:
        return False
    ended = (
        await session.execute(
            update(Hold)
            .where(col(Hold.job_id) == job_id, col(Hold.state) == HoldState.OPEN.value)
            .values(
                state=(HoldState.SETTLED if charge else HoldState.RELEASED).value,
                charged=charge,
                ended_at=func.clock_timestamp(),
            )
            .returning(col(Hold.id), col(Hold.account_id), col(Hold.ended_at), col(Hold.amount))
            .execution_options(synchronize_session=False)
        )
    ).one_or_none()
    if ended is None:
        return False
    hold_id, account_id, now, held = ended
    drawn = (
        await session.exec(
            select(HoldDraw, Grant)
            .join(Grant, col(Grant.id) == col(HoldDraw.grant_id))
            .where(HoldDraw.hold_id == hold_id)
            .order_by(col(HoldDraw.position))
            .execution_options(populate_existing=True)
        )
    ).all()
    grants = {grant.id: state_of(grant) for _, grant in drawn}
    draws = [Draw(grant_id=row.grant_id, amount=row.amount) for row, _ in drawn]
    change = credits.end_hold(grants, draws, charge, now=now)
    await apply(session, account_id, change, reason=reason, hold_id=hold_id)
    if (job := await session.get(Job, job_id)) is not None:
        charged = metrics.credits_charged.labels(job.tier, job.recipe)
        released = metrics.credits_released.labels(job.tier, reason)
        after_commit(session, lambda: charged.inc(charge))
        after_commit(session, lambda: released.inc(held - charge))
    return True


async def expire_grants(session: AsyncSession, *, account_id: str = "", limit: int = 1_000) -> int:
    """Write off what is left of grants that ended (of one account, or of any); returns how many grants.

    Accounts that are busy just now are left for the next time.
    """
    found = (await session.execute(_ENDED, {"of": account_id, "limit": limit})).all()
    if not found:
        return 0
    now = await now_of(session)
    lines = []
    for row in found:
        grant = GrantState(
            grant_id=row.id,
            amount=row.amount,
            remaining=row.remaining,
            expired=row.expired,
            expires_at=row.expires_at,
        )
        transaction_id = new_id(IdPrefix.LEDGER_ENTRY)
        lines += [
            Line(transaction_id=transaction_id, account_id=row.account_id, entry=entry, reason="expired")
            for entry in credits.expire(grant, now=now).entries
        ]
    await session.execute(_EXPIRE, {"ids": [row.id for row in found]})
    await _write(session, lines)
    return len(found)


async def apply(
    session: AsyncSession, account_id: str, change: Change, *, reason: str, hold_id: str | None = None
) -> None:
    """Save what the domain decided for grants of one account that the caller has locked."""
    for grant in change.grants:
        await session.execute(
            _SAVE,
            {
                "grant_id": grant.grant_id,
                "remaining": grant.remaining,
                "expired": grant.expired,
                "reversed": grant.reversed,
                "owed": grant.owed,
                "expires_at": grant.expires_at,
                "extended": grant.extended,
            },
        )
    transaction_id = new_id(IdPrefix.LEDGER_ENTRY)
    await _write(
        session,
        [
            Line(transaction_id=transaction_id, account_id=account_id, entry=entry, reason=reason)
            for entry in change.entries
        ],
        hold_id=hold_id,
    )


async def standing(session: AsyncSession, account_id: str) -> Standing:
    """What an account has, now; nothing for one that is not there."""
    row = (await session.execute(_STANDING, {"account_id": account_id})).one_or_none()
    if row is None:
        return Standing(available=0, held=0, owed=0, due=False)
    return Standing(available=int(row.available), held=int(row.held), owed=int(row.owed), due=bool(row.due))


async def balance(session: AsyncSession, account_id: str) -> tuple[int, int]:
    """(available, held) credits of an account, now."""
    found = await standing(session, account_id)
    return found.available, found.held


def state_of(grant: Grant) -> GrantState:
    """A row as the domain's value."""
    return GrantState(
        grant_id=grant.id,
        amount=grant.amount,
        remaining=grant.remaining,
        expires_at=grant.expires_at,
        extended=grant.extended,
        expired=grant.expired,
        reversed=grant.reversed,
        owed=grant.owed,
    )


def _issued(grants: Iterable[tuple[str, NewGrant]]) -> list[Line]:
    return [
        Line(
            transaction_id=transaction_id,
            account_id=new.account_id,
            entry=entry,
            reason=f"grant:{new.source}",
        )
        for grant_id, new in grants
        for transaction_id in [new_id(IdPrefix.LEDGER_ENTRY)]
        for entry in credits.issue(grant_id, new.amount, expires_at=new.expires_at).entries
    ]


async def _write(session: AsyncSession, lines: Sequence[Line], *, hold_id: str | None = None) -> None:
    if not lines:
        return
    columns: Mapping[str, object] = {
        "transaction_ids": [line.transaction_id for line in lines],
        "account_ids": [line.account_id for line in lines],
        "books": [line.entry.book.value for line in lines],
        "amounts": [line.entry.amount for line in lines],
        "grant_ids": [line.entry.grant_id for line in lines],
        "reasons": [line.reason for line in lines],
        "hold_id": hold_id,
    }
    await session.execute(_WRITE, columns)
