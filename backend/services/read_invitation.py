"""What an invitation offers whoever holds its code, without using it up."""

from dataclasses import dataclass

from sqlmodel import col, func, select

from backend.auth.tokens import hash_token, is_plausible
from backend.db.models import OneTimeToken
from backend.services.send_letter import Purpose
from backend.studio import Studio


@dataclass(frozen=True, kw_only=True)
class Invitation:
    """The tier of the account that it makes, and the only address that may use it (None: any)."""

    tier: str
    email: str | None


async def read_invitation(studio: Studio, code: str) -> Invitation | None:
    """The invitation of this code; None where it is mistyped, was used or has ended."""
    if not is_plausible(code.strip()):
        return None
    async with studio.db.reading() as session:
        row = (
            await session.exec(
                select(OneTimeToken).where(
                    col(OneTimeToken.token_hash) == hash_token(code.strip()),
                    col(OneTimeToken.purpose) == Purpose.INVITATION,
                    col(OneTimeToken.used_at).is_(None),
                    col(OneTimeToken.expires_at) > func.now(),
                )
            )
        ).one_or_none()
    if row is None:
        return None
    return Invitation(tier=str(row.payload.get("tier", "")), email=row.email)
