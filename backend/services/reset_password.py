"""A new password: by the token of a letter, or by somebody who is signed in."""

from sqlalchemy import func
from sqlmodel import select

from backend.auth import throttle
from backend.auth.passwords import check_password, hash_password, verify_password
from backend.auth.principal import Principal
from backend.auth.tokens import is_plausible
from backend.db.models import User
from backend.db.repositories import people
from backend.domain.errors import InvalidField, NotSignedIn
from backend.services.open_session import SignedIn, open_session
from backend.services.renew_credits import vouch
from backend.services.send_letter import Purpose, send_reset
from backend.studio import Studio


async def request_password_reset(studio: Studio, *, email: str, address: str = "") -> None:
    """Send a letter if somebody has that address; the caller never learns which. Raises `RateLimited`.

    Takes longer for addresses that exist: run it after the answer has gone out.
    """
    buckets = throttle.letter_buckets(email.strip(), address)
    await throttle.check(studio.wakeups.redis, studio.clock, buckets)
    await throttle.add(studio.wakeups.redis, studio.clock, buckets)
    async with studio.db.reading() as session:
        user = await people.user_by_email(session, email.strip())
    if user is not None and user.suspended_at is None:
        await send_reset(studio, user_id=user.id, email=user.email)


async def reset_password(studio: Studio, *, token: str, password: str, user_agent: str = "") -> SignedIn:
    """Set the password with a letter's token; every other session ends. Raises `InvalidField`."""
    password_hash = await hash_password(check_password(password))
    async with studio.db.transaction() as session:
        taken = (
            await people.take_one_time_token(session, token, Purpose.RESET_PASSWORD)
            if is_plausible(token)
            else None
        )
        # The key is left alone: whoever holds the account's lock may write rows that refer to this person.
        user = await session.get(User, taken.user_id, with_for_update={"key_share": True}) if taken else None
        if taken is None or user is None or user.email != taken.email or user.suspended_at is not None:
            raise InvalidField("This link was used or has ended. Ask for a new one.", param="token")
        user.password_hash = password_hash
        user.session_epoch += 1
        if user.email_confirmed_at is None:
            user.email_confirmed_at = (await session.execute(select(func.now()))).scalar_one()
        opened = await open_session(session, user, user_agent=user_agent)
        await vouch(session, opened.account_id)
        return opened


async def set_password(
    studio: Studio, principal: Principal, *, password: str, current: str = "", user_agent: str = ""
) -> SignedIn:
    """Set one's own password, knowing the current one if there is one; every other session ends.

    Raises `NotAllowed` (by key), `InvalidField`, `RateLimited`.
    """
    principal.require_session()
    buckets = throttle.sign_in_buckets(principal.email, "own")
    await throttle.check(studio.wakeups.redis, studio.clock, buckets)
    async with studio.db.reading() as session:
        known = await session.get(User, principal.user_id)
    if known is None:
        raise NotSignedIn
    if known.password_hash is not None and not await verify_password(current, known.password_hash):
        await throttle.add(studio.wakeups.redis, studio.clock, buckets)
        raise InvalidField("That is not the current password.", param="current")
    password_hash = await hash_password(check_password(password))
    async with studio.db.transaction() as session:
        user = await session.get_one(User, principal.user_id, with_for_update=True)
        if user.password_hash != known.password_hash:
            raise InvalidField("That is not the current password.", param="current")
        user.password_hash = password_hash
        user.session_epoch += 1
        return await open_session(session, user, user_agent=user_agent)
