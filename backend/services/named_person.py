"""The person an operator names by address at the command line."""

from sqlmodel.ext.asyncio.session import AsyncSession

from backend.db.models import User
from backend.db.repositories import people
from backend.domain.errors import NotFound


async def named_person(session: AsyncSession, email: str, *, for_update: bool = False) -> User:
    """Whoever signs in with that address. Raises `NotFound`, which says where the addresses are to be seen."""
    user = await people.user_by_email(session, email, for_update=for_update)
    if user is None:
        raise NotFound(
            f"There is nobody with the address {email}. `zoetrope users list` shows who there is.",
            param="email",
        )
    return user
