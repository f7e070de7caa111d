"""Confirm an address with the token of the letter, and choose the password in the same step.

Anybody can type somebody else's address and a password at the door. Whoever reads the letter owns the address, so it
is their password that counts, and nothing that was typed before.
"""

from sqlalchemy import func
from sqlmodel import select

from backend.db.repositories import people
from backend.services.note_network import note_network
from backend.services.open_session import SignedIn, open_session
from backend.services.renew_credits import vouch
from backend.services.reset_password import hash_for_token, use_token
from backend.services.send_letter import Purpose
from backend.studio import Studio


async def confirm_email(
    studio: Studio, *, token: str, password: str, address: str = "", user_agent: str = ""
) -> SignedIn:
    """The address is theirs, and they are signed in; the first credits of an account of their own come with it.

    Other sessions and links of that person end. `address` is the network's, of who asks.

    Raises `InvalidField` for a link that was used or ended, or a weak password, `RateLimited`, `Unavailable`.
    """
    user_id, password_hash = await hash_for_token(
        studio, token=token, purpose=Purpose.CONFIRM_EMAIL, password=password, address=address
    )
    async with studio.db.transaction() as session:
        user = await use_token(session, user_id, token=token, purpose=Purpose.CONFIRM_EMAIL)
        user.password_hash = password_hash
        user.session_epoch += 1
        if user.email_confirmed_at is None:
            user.email_confirmed_at = (await session.execute(select(func.now()))).scalar_one()
        await people.end_one_time_tokens(session, user.id)
        opened = await open_session(session, user, user_agent=user_agent)
        await note_network(studio, session, opened.account_id, address)
        await vouch(session, opened.account_id)
        return opened
