"""Sign in by e-mail and password. A wrong address and a wrong password look and last the same."""

from backend.auth import throttle
from backend.auth.passwords import hash_password, needs_rehash, verify_password
from backend.db.models import User
from backend.db.repositories import people
from backend.domain.errors import InvalidField, NotAllowed, Unavailable
from backend.services.note_network import note_network
from backend.services.open_session import SignedIn, open_session
from backend.services.send_letter import send_confirmation
from backend.studio import Studio

WRONG = "E-mail and password don't match."


async def sign_in(
    studio: Studio, *, email: str, password: str, address: str = "", user_agent: str = ""
) -> SignedIn:
    """A session for whoever knows the password.

    `address` is the network address that the tries are counted by.

    Raises `RateLimited`, `InvalidField` (wrong), `NotAllowed` (closed, or the address isn't confirmed
    yet), `Unavailable` (too many at once).
    """
    buckets = throttle.sign_in_buckets(email.strip(), address)
    redis = studio.wakeups.redis
    await throttle.take(redis, studio.clock, buckets)
    async with studio.db.reading() as session:
        user = await people.user_by_email(session, email.strip())
    try:
        matches = await verify_password(password, user.password_hash if user else None)
    except Unavailable:
        await throttle.give_back(redis, buckets)
        raise
    if user is None or user.password_hash is None or not matches:
        raise InvalidField(WRONG, param="password")
    # Those who sign in from one address don't fill its counts for one another.
    await throttle.give_back(redis, buckets[1:])
    await throttle.forget(redis, buckets[0])
    if user.suspended_at is not None:
        raise NotAllowed("This account is closed. Ask whoever runs this studio.")
    if user.email_confirmed_at is None and studio.mailer.enabled:
        # Whoever typed it may not own the address: its owner's letters are counted.
        await throttle.take(redis, studio.clock, throttle.letter_buckets(user.email, address))
        await send_confirmation(studio, user_id=user.id, email=user.email)
        raise NotAllowed("Confirm your address first: a new e-mail with a link is on its way.", param="email")
    stronger = await hash_password(password) if needs_rehash(user.password_hash) else None
    async with studio.db.transaction() as session:
        # The key is left alone: whoever holds the account's lock may write rows that refer to this person.
        current = await session.get(User, user.id, with_for_update={"key_share": True})
        if current is None or current.password_hash != user.password_hash:
            raise InvalidField(WRONG, param="password")
        if stronger is not None:
            current.password_hash = stronger
        opened = await open_session(session, current, user_agent=user_agent)
        await note_network(studio, session, opened.account_id, address)
        return opened
