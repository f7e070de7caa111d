"""Confirm an address with the token of the letter."""

from sqlalchemy import func
from sqlmodel import select

from backend.auth.tokens import is_plausible
from backend.db.models import User
from backend.db.repositories import people
from backend.domain.errors import InvalidField
from backend.services.note_network import note_network
from backend.services.open_session import SignedIn, open_session
from backend.services.renew_credits import vouch
from backend.services.send_letter import Purpose
from backend.studio import Studio


async def confirm_email(studio: Studio, *, token: str, address: str = "", user_agent: str = "") -> SignedIn:
    """The address is theirs, and they are signed in; the first credits of an account of their own come with it.

    `address` is the network's, of who asks.

    Raises `InvalidField` for a link that was used or ended.
    """
    async with studio.db.transaction() as session:
        taken = (
            await people.take_one_time_token(session, token, Purpose.CONFIRM_EMAIL)
            if is_plausible(token)
            else None
        )
        # The key is left alone: whoever holds the account's lock may write rows that refer to this person.
        user = await session.get(User, taken.user_id, with_for_update={"key_share": True}) if taken else None
        if taken is None or user is None or user.email != taken.email or user.suspended_at is not None:
            raise InvalidField("This link was used or has ended. Sign in to get a new one.", param="token")
        if user.email_confirmed_at is None:
            user.email_confirmed_at = (await session.execute(select(func.now()))).scalar_one()
        opened = await open_session(session, user, user_agent=user_agent)
        await note_network(studio, session, opened.account_id, address)
        await vouch(session, opened.account_id)
        return opened
