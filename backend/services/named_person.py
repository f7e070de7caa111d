"""The person an operator names by address at the command line."""

from sqlmodel.ext.asyncio.session import AsyncSession

from backend.db.models import User
from backend.db.repositories import people
from backend.domain.errors import NotAllowed, NotFound


async def named_person(session: AsyncSession, email: str, *, for_update: bool = False) -> User:
    """Whoever signs in with that address. Raises `NotFound`, which says where the addresses are to be seen."""
    user = await people.user_by_email(session, email, for_update=for_update)
    if user is None:
        raise NotFound(
            f"There is nobody with the address {email}. `zoetrope users list` shows who there is.",
            param="email",
        )
    return user


async def named_open_person(session: AsyncSession, email: str) -> User:
    """The same, to make a way in for: raises `NotAllowed` for somebody whose account is closed."""
    user = await named_person(session, email)
    if user.suspended_at is not None:
        raise NotAllowed(
            f"The account of {email} is closed. `zoetrope users reopen --email {email}` opens it again.",
            param="email",
        )
    return user
