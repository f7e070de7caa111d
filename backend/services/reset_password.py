"""A new password: by the token of a letter, or by somebody who is signed in."""

from sqlalchemy import func
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

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

LINK_ENDED = "This link was used or has ended. Ask for a new one."


async def request_password_reset(studio: Studio, *, email: str, address: str = "") -> None:
    """Send a letter if somebody has that address; the caller never learns which. Raises `RateLimited`.

    Takes longer for addresses that exist: run it after the answer has gone out.
    """
    buckets = throttle.letter_buckets(email.strip(), address)
    await throttle.take(studio.wakeups.redis, studio.clock, buckets)
    async with studio.db.reading() as session:
        user = await people.user_by_email(session, email.strip())
    if user is not None and user.suspended_at is None:
        await send_reset(studio, user_id=user.id, email=user.email)


async def reset_password(
    studio: Studio, *, token: str, password: str, address: str = "", user_agent: str = ""
) -> SignedIn:
    """Set the password with a letter's token; every other session and link ends.

    `address` is the network address that the tries are counted by. Raises `InvalidField`, `RateLimited`, `Unavailable`.
    """
    user_id, password_hash = await hash_for_token(
        studio, token=token, purpose=Purpose.RESET_PASSWORD, password=password, address=address
    )
    async with studio.db.transaction() as session:
        user = await use_token(session, user_id, token=token, purpose=Purpose.RESET_PASSWORD)
        user.password_hash = password_hash
        user.session_epoch += 1
        if user.email_confirmed_at is None:
            user.email_confirmed_at = (await session.execute(select(func.now()))).scalar_one()
        await people.end_one_time_tokens(session, user.id)
        opened = await open_session(session, user, user_agent=user_agent)
        await vouch(session, opened.account_id)
        return opened


async def use_token(session: AsyncSession, user_id: str, *, token: str, purpose: Purpose) -> User:
    """The person whose letter it was, locked, and the token used up. Raises `InvalidField`."""
    # The person first: who ends all of somebody's links holds that lock too. The key is left alone: whoever holds
    # the account's lock may write rows that refer to this person.
    user = await session.get(User, user_id, with_for_update={"key_share": True})
    taken = await people.take_one_time_token(session, token, purpose)
    if taken is None or user is None or user.email != taken.email or user.suspended_at is not None:
        raise InvalidField(LINK_ENDED, param="token")
    return user


async def hash_for_token(
    studio: Studio, *, token: str, purpose: Purpose, password: str, address: str
) -> tuple[str, str]:
    """Whose token that is, and the hash of the password they chose. The token isn't used up yet.

    It is looked up first: hashing is dear, and made-up tokens cost nothing. Raises `InvalidField`, `RateLimited`,
    `Unavailable`.
    """
    buckets = throttle.token_buckets(address)
    await throttle.take(studio.wakeups.redis, studio.clock, buckets)
    found = None
    if is_plausible(token):
        async with studio.db.reading() as session:
            found = await people.find_one_time_token(session, token, purpose)
    if found is None or found.user_id is None:
        raise InvalidField(LINK_ENDED, param="token")
    await throttle.give_back(studio.wakeups.redis, buckets)
    return found.user_id, await hash_password(check_password(password, email=found.email or ""))


async def set_password(
    studio: Studio, principal: Principal, *, password: str, current: str = "", user_agent: str = ""
) -> SignedIn:
    """Set one's own password, knowing the current one if there is one; every other session and link ends.

    Raises `NotAllowed` (by key), `InvalidField`, `RateLimited`, `Unavailable`.
    """
    principal.require_session()
    check_password(password, email=principal.email)
    async with studio.db.reading() as session:
        known = await session.get(User, principal.user_id)
    if known is None:
        raise NotSignedIn
    if known.password_hash is not None:
        buckets = throttle.own_password_buckets(principal.user_id)
        await throttle.take(studio.wakeups.redis, studio.clock, buckets)
        if not await verify_password(current, known.password_hash):
            raise InvalidField("That is not the current password.", param="current")
        await throttle.forget(studio.wakeups.redis, buckets[0])
    password_hash = await hash_password(password)
    async with studio.db.transaction() as session:
        user = await session.get_one(User, principal.user_id, with_for_update=True)
        if user.password_hash != known.password_hash:
            raise InvalidField("That is not the current password.", param="current")
        user.password_hash = password_hash
        user.session_epoch += 1
        await people.end_one_time_tokens(session, user.id)
        return await open_session(session, user, user_agent=user_agent)
