"""A link that signs somebody in, once: for people who lost their way in."""

from datetime import timedelta

from backend.auth.tokens import is_plausible
from backend.db.models import AuditEntry, User
from backend.db.repositories import people
from backend.domain.errors import InvalidField
from backend.services.named_person import named_open_person
from backend.services.open_session import SignedIn, open_session
from backend.services.send_letter import Purpose
from backend.studio import Studio

LINK_LIFE = timedelta(hours=1)


async def create_sign_in_link(studio: Studio, *, email: str, life: timedelta = LINK_LIFE) -> str:
    """A link for this person, made by the operator at the command line. Raises `NotFound`."""
    async with studio.db.transaction() as session:
        user = await named_open_person(session, email)
        token = await people.make_one_time_token(
            session, purpose=Purpose.SIGN_IN, ttl=life, user_id=user.id, email=user.email
        )
        session.add(AuditEntry(action="sign_in_link.created", subject=user.id))
    return sign_in_link(studio, token)


async def follow_sign_in_link(studio: Studio, *, token: str, user_agent: str = "") -> SignedIn:
    """Sign in by the token of a link. Raises `InvalidField` for one that was used or has ended."""
    async with studio.db.transaction() as session:
        found = (
            await people.find_one_time_token(session, token, Purpose.SIGN_IN) if is_plausible(token) else None
        )
        # The person first: who ends all of somebody's links holds that lock too.
        user = await session.get(User, found.user_id, with_for_update=True) if found else None
        taken = await people.take_one_time_token(session, token, Purpose.SIGN_IN) if user else None
        if user is None or taken is None or user.suspended_at is not None:
            raise InvalidField("This link was used or has ended.", param="token")
        return await open_session(session, user, user_agent=user_agent)


def sign_in_link(studio: Studio, token: str) -> str:
    """Where a token of `Purpose.SIGN_IN` is used."""
    return f"{studio.settings.public_url}/auth/link/{token}"
