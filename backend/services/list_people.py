"""Who may sign in, oldest first, for the operator at the command line."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text

from backend.studio import Studio

MOST = 1000

_PEOPLE = text(
    """
    SELECT u.id, u.email, u.name, u.role, a.tier, u.created_at, u.email_confirmed_at, u.suspended_at
    FROM users u
    JOIN memberships m ON m.user_id = u.id
    JOIN accounts a ON a.id = m.account_id AND a.kind = 'person'
    WHERE position(lower(:part) IN lower(u.email)) > 0
    ORDER BY u.created_at, u.id
    LIMIT :most
    """
)


@dataclass(frozen=True, kw_only=True)
class Person:
    """A person and the tier of their own account."""

    id: str
    email: str
    name: str
    role: str
    tier: str
    created_at: datetime
    email_confirmed_at: datetime | None
    suspended_at: datetime | None

    @property
    def standing(self) -> str:
        """In one word."""
        if self.suspended_at is not None:
            return "closed"
        return "active" if self.email_confirmed_at is not None else "unconfirmed"


async def list_people(studio: Studio, *, part_of_email: str = "", most: int = MOST) -> list[Person]:
    """Everybody whose address holds `part_of_email`, `most` of them at most."""
    async with studio.db.reading() as session:
        rows = await session.execute(_PEOPLE, {"part": part_of_email, "most": most})
        return [Person(**row) for row in rows.mappings()]
