"""The link that signs the first admin in, printed at the first start."""

from datetime import timedelta

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.auth.principal import Role
from backend.db.at_this_version import AN_ADMIN_CAME_IN
from backend.db.repositories import people
from backend.domain.monthly import Origin
from backend.services.create_sign_in_link import sign_in_link
from backend.services.create_user import add_user
from backend.services.send_letter import Purpose
from backend.studio import Studio

LINK_LIFE = timedelta(days=7)
EMAIL = "admin@localhost"

_ONE_AT_A_TIME = text("SELECT pg_advisory_xact_lock(72407402)")
_CAME_IN = text(AN_ADMIN_CAME_IN)
_ADMIN = text(
    "SELECT id FROM users WHERE role = 'admin' AND suspended_at IS NULL ORDER BY created_at, id LIMIT 1"
)


async def create_first_admin_link(studio: Studio) -> str | None:
    """A link for the first admin, who is made if need be; older ones end. None once an admin has come in."""
    async with studio.db.transaction() as session:
        user_id = await first_admin(session)
        if (await session.execute(_CAME_IN)).one_or_none() is not None:
            return None
        await people.end_one_time_tokens(session, user_id, purpose=Purpose.SIGN_IN)
        token = await people.make_one_time_token(
            session, purpose=Purpose.SIGN_IN, ttl=LINK_LIFE, user_id=user_id
        )
    return sign_in_link(studio, token)


async def first_admin(session: AsyncSession) -> str:
    """The id of the oldest admin; the first one is made. Two starts at once make one."""
    await session.execute(_ONE_AT_A_TIME)
    found = (await session.execute(_ADMIN)).scalar_one_or_none()
    if found is not None:
        return str(found)
    created = await add_user(
        session,
        email=EMAIL,
        password_hash=None,
        tier="internal",
        role=Role.ADMIN,
        name="Admin",
        confirmed=True,
        origin=Origin.OPERATOR,
        vouched=True,
    )
    return created.id
