"""Credits: integers, double entry. Grants are drawn soonest-to-expire first; a hold ends exactly once."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from backend.domain.errors import InsufficientCredits

RETURN_GRACE = timedelta(days=1)
"""What a hold gives back to a grant that expired meanwhile stays usable for this long."""


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
    """The books of the double entry. Every transaction sums to 0 over them."""

    ISSUED = "issued"
    AVAILABLE = "available"
    HELD = "held"
    SPENT = "spent"
    EXPIRED = "expired"


@dataclass(frozen=True, kw_only=True)
class GrantBalance:
    """What is left of one grant."""

    grant_id: str
    remaining: int
    expires_at: datetime | None


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


def draw(grants: Sequence[GrantBalance], amount: int, *, now: datetime) -> list[Draw]:
    """Take `amount` from usable grants, soonest to expire first, those without an end last.

    Raises `InsufficientCredits`.
    """
    usable = [g for g in grants if g.remaining > 0 and (g.expires_at is None or g.expires_at > now)]
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


def entries_for_grant(grant_id: str, amount: int) -> list[Entry]:
    """Credits come into being."""
    return [
        Entry(book=Book.ISSUED, amount=-amount, grant_id=grant_id),
        Entry(book=Book.AVAILABLE, amount=amount, grant_id=grant_id),
    ]


def entries_for_end(spent: Sequence[Draw], back: Sequence[Draw]) -> list[Entry]:
    """A hold ends: part is spent, part is available again."""
    lines: list[Entry] = []
    for d in spent:
        lines.append(Entry(book=Book.HELD, amount=-d.amount, grant_id=d.grant_id))
        lines.append(Entry(book=Book.SPENT, amount=d.amount, grant_id=d.grant_id))
    for d in back:
        lines.append(Entry(book=Book.HELD, amount=-d.amount, grant_id=d.grant_id))
        lines.append(Entry(book=Book.AVAILABLE, amount=d.amount, grant_id=d.grant_id))
    return lines


def entries_for_expiry(grant_id: str, remaining: int) -> list[Entry]:
    """What is left of a grant at its end."""
    return [
        Entry(book=Book.AVAILABLE, amount=-remaining, grant_id=grant_id),
        Entry(book=Book.EXPIRED, amount=remaining, grant_id=grant_id),
    ]
