"""Credits: integers, double entry. Grants are drawn soonest-to-expire first; a hold ends exactly once.

Each function takes grants as they are and gives them as they will be, with the entries that prove it. The sum of the
entries of one call is 0. Nothing here makes what is available negative.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from backend.domain.errors import InsufficientCredits

RETURN_GRACE = timedelta(days=1)
"""What comes back to a grant that expired meanwhile stays usable for this long."""


class GrantSource(StrEnum):
    """Where credits come from."""

    MONTHLY = "monthly"
    PURCHASE = "purchase"
    PROMOTION = "promotion"
    ADMIN = "admin"


class HoldState(StrEnum):
    """A hold is open until it is settled (in part or whole) or released."""

    OPEN = "open"
    SETTLED = "settled"
    RELEASED = "released"


class Book(StrEnum):
    """The books of the double entry. Every transaction sums to 0 over them.

    `owed` is 0 or less: credits that were bought, used, and whose money was taken back.
    """

    ISSUED = "issued"
    AVAILABLE = "available"
    HELD = "held"
    SPENT = "spent"
    EXPIRED = "expired"
    OWED = "owed"


@dataclass(frozen=True, kw_only=True)
class GrantState:
    """One grant. `remaining` is what is neither held, spent, expired nor taken back.

    `extended`: its own end has passed, and `expires_at` is the end of the grace for what came back since.
    `reversed`: credits whose money was taken back; `owed` is the part of them that could not be.
    """

    grant_id: str
    amount: int
    remaining: int
    expires_at: datetime | None
    extended: bool = False
    expired: int = 0
    reversed: int = 0
    owed: int = 0

    def usable(self, now: datetime) -> bool:
        """Whether a hold may draw on it."""
        return self.remaining > 0 and not self.ended(now)

    def ended(self, now: datetime) -> bool:
        """Whether its time is over."""
        return self.expires_at is not None and self.expires_at <= now


@dataclass(frozen=True, kw_only=True)
class Draw:
    """Part of a hold, taken from one grant."""

    grant_id: str
    amount: int


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One line of a transaction. Positive adds to the book."""

    book: Book
    amount: int
    grant_id: str


@dataclass(frozen=True, kw_only=True)
class Change:
    """Grants as they are after a transaction (those that changed), and its lines."""

    grants: tuple[GrantState, ...] = ()
    entries: tuple[Entry, ...] = ()


def draw(grants: Sequence[GrantState], amount: int, *, now: datetime) -> list[Draw]:
    """Take `amount` from usable grants, soonest to expire first, those without an end last.

    `db/sql/submit_generation_v1.sql` does this in the database; a test holds it to this. Raises
    `InsufficientCredits`.
    """
    usable = [g for g in grants if g.usable(now)]
    usable.sort(key=lambda g: (g.expires_at is None, g.expires_at or now, g.grant_id))
    draws: list[Draw] = []
    missing = amount
    for grant in usable:
        if missing == 0:
            break
        part = min(grant.remaining, missing)
        draws.append(Draw(grant_id=grant.grant_id, amount=part))
        missing -= part
    if missing:
        have = amount - missing
        raise InsufficientCredits(f"This clip costs {amount} credits and the account has {have}.")
    return draws


def split(draws: Sequence[Draw], charged: int) -> tuple[list[Draw], list[Draw]]:
    """Split a hold's draws, in their order, into what is spent and what goes back. `0 <= charged <= sum`."""
    total = sum(d.amount for d in draws)
    if not 0 <= charged <= total:
        raise ValueError(f"a charge of {charged} is outside 0..{total}")
    spent: list[Draw] = []
    back: list[Draw] = []
    left = charged
    for d in draws:
        part = min(d.amount, left)
        left -= part
        if part:
            spent.append(Draw(grant_id=d.grant_id, amount=part))
        if d.amount - part:
            back.append(Draw(grant_id=d.grant_id, amount=d.amount - part))
    return spent, back


def issue(grant_id: str, amount: int, *, expires_at: datetime | None) -> Change:
    """Credits come into being."""
    if amount <= 0:
        raise ValueError(f"a grant of {amount} credits")
    return Change(
        grants=(GrantState(grant_id=grant_id, amount=amount, remaining=amount, expires_at=expires_at),),
        entries=_move(Book.ISSUED, Book.AVAILABLE, amount, grant_id),
    )


def hold(grants: Mapping[str, GrantState], draws: Sequence[Draw]) -> Change:
    """Set the draws aside: from now on no expiry of their grants touches them. Done in SQL too, as `draw` is."""
    after = []
    lines: list[Entry] = []
    for d in draws:
        grant = grants[d.grant_id]
        after.append(replace(grant, remaining=grant.remaining - d.amount))
        lines += _move(Book.AVAILABLE, Book.HELD, d.amount, d.grant_id)
    return Change(grants=tuple(after), entries=tuple(lines))


def end_hold(
    grants: Mapping[str, GrantState], draws: Sequence[Draw], charged: int, *, now: datetime
) -> Change:
    """A hold ends: `charged` of it is spent, the rest goes back to the grants that it came from.

    A grant that expired meanwhile gives up what it had left, and keeps what comes back for `RETURN_GRACE`. One whose
    money was taken back pays off what it owes first.
    """
    spent, back = split(draws, charged)
    after = dict(grants)
    lines: list[Entry] = []
    for d in spent:
        lines += _move(Book.HELD, Book.SPENT, d.amount, d.grant_id)
    for d in back:
        grant = after[d.grant_id]
        owed = min(grant.owed, d.amount)
        lines += _move(Book.HELD, Book.OWED, owed, d.grant_id)
        returned = _put_back(replace(grant, owed=grant.owed - owed), d.amount - owed, Book.HELD, now)
        after[d.grant_id] = returned.grants[0]
        lines += returned.entries
    changed = tuple(grant for grant_id, grant in after.items() if grant != grants[grant_id])
    return Change(grants=changed, entries=tuple(lines))


def expire(grant: GrantState, *, now: datetime) -> Change:
    """Write off what is left of a grant whose time is over."""
    if not grant.ended(now) or grant.remaining == 0:
        return Change()
    after = replace(grant, remaining=0, expired=grant.expired + grant.remaining)
    return Change(
        grants=(after,), entries=_move(Book.AVAILABLE, Book.EXPIRED, grant.remaining, grant.grant_id)
    )


def reverse(grant: GrantState, amount: int) -> Change:
    """Take back `amount` credits of a purchase, because its money went back. At most what was not reversed before.

    First what is unspent, then what had expired unused; what was spent or is held is owed.
    """
    amount = min(amount, grant.amount - grant.reversed)
    unspent = min(amount, grant.remaining)
    unused = min(amount - unspent, grant.expired)
    owed = amount - unspent - unused
    after = replace(
        grant,
        remaining=grant.remaining - unspent,
        expired=grant.expired - unused,
        reversed=grant.reversed + amount,
        owed=grant.owed + owed,
    )
    return Change(
        grants=(after,) if amount else (),
        entries=(
            *_move(Book.AVAILABLE, Book.ISSUED, unspent, grant.grant_id),
            *_move(Book.EXPIRED, Book.ISSUED, unused, grant.grant_id),
            *_move(Book.OWED, Book.ISSUED, owed, grant.grant_id),
        ),
    )


def restore(grant: GrantState, amount: int, *, now: datetime) -> Change:
    """Undo a reversal, because the money came after all: what is owed is forgiven first, the rest is there again."""
    amount = min(amount, grant.reversed)
    if not amount:
        return Change()
    forgiven = min(amount, grant.owed)
    settled = replace(grant, reversed=grant.reversed - amount, owed=grant.owed - forgiven)
    returned = _put_back(settled, amount - forgiven, Book.ISSUED, now)
    return Change(
        grants=returned.grants,
        entries=(*_move(Book.ISSUED, Book.OWED, forgiven, grant.grant_id), *returned.entries),
    )


def repay(fresh: GrantState, debts: Sequence[GrantState]) -> Change:
    """A purchase pays off what older ones owe, before it can be spent."""
    after: list[GrantState] = []
    lines: list[Entry] = []
    left = fresh.remaining
    for debt in debts:
        part = min(left, debt.owed)
        if part:
            left -= part
            after.append(replace(debt, owed=debt.owed - part))
            lines.append(Entry(book=Book.AVAILABLE, amount=-part, grant_id=fresh.grant_id))
            lines.append(Entry(book=Book.OWED, amount=part, grant_id=debt.grant_id))
    if after:
        after.append(replace(fresh, remaining=left))
    return Change(grants=tuple(after), entries=tuple(lines))


def reversed_credits(amount: int, *, paid: int, returned: int) -> int:
    """How many of a purchase's credits go with the money that went back; rounded down, in the payer's favour.

    `paid` and `returned` are in the smallest unit of their currency. A purchase that cost nothing loses nothing.
    """
    if paid <= 0:
        return 0
    return amount * min(max(returned, 0), paid) // paid


def month_of(now: datetime) -> str:
    """The month that monthly credits are for, in UTC: "2026-05"."""
    return now.astimezone(UTC).strftime("%Y-%m")


def month_begins(now: datetime, *, months: int) -> datetime:
    """The first moment, in UTC, of the month that is `months` after the one of `now`."""
    first = now.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    years, month = divmod(first.month - 1 + months, 12)
    return first.replace(year=first.year + years, month=month + 1)


def _put_back(grant: GrantState, amount: int, source: Book, now: datetime) -> Change:
    """`amount` from `source` is available again. What the grant had left at its end stays lost."""
    if amount == 0:
        return Change(grants=(grant,))
    written_off = expire(grant, now=now)
    grant = written_off.grants[0] if written_off.grants else grant
    expires_at, extended = grant.expires_at, grant.extended
    if expires_at is not None and (extended or expires_at <= now):
        expires_at, extended = max(expires_at, now + RETURN_GRACE), True
    after = replace(grant, remaining=grant.remaining + amount, expires_at=expires_at, extended=extended)
    return Change(
        grants=(after,),
        entries=(*written_off.entries, *_move(source, Book.AVAILABLE, amount, grant.grant_id)),
    )


def _move(source: Book, target: Book, amount: int, grant_id: str) -> tuple[Entry, ...]:
    if amount == 0:
        return ()
    return (
        Entry(book=source, amount=-amount, grant_id=grant_id),
        Entry(book=target, amount=amount, grant_id=grant_id),
    )
