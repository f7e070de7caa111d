"""Make an account for oneself: open, by invitation, or not at all, as the operator chose."""

from dataclasses import dataclass

from backend.auth import throttle
from backend.auth.passwords import check_password, hash_password
from backend.auth.principal import Role
from backend.db.models import User
from backend.db.repositories import people
from backend.domain.errors import Conflict, InvalidField, NotAllowed, RateLimited, noting, refuse_all
from backend.domain.monthly import Origin
from backend.domain.tiers import DEFAULT_TIER
from backend.log import get_logger
from backend.services.create_user import add_user, check_email
from backend.services.note_network import network_of
from backend.services.open_session import SignedIn, open_session
from backend.services.read_invitation import read_invitation
from backend.services.send_letter import Purpose, send_already_there, send_confirmation
from backend.settings import SignupMode
from backend.studio import Studio

log = get_logger(__name__)

_ENDED = "This invitation was used, has ended, or is mistyped."


@dataclass(frozen=True, kw_only=True)
class SignedUp:
    """What follows: signed in at once, or a letter to answer first (`signed_in` None)."""

    signed_in: SignedIn | None


async def sign_up(
    studio: Studio,
    *,
    email: str,
    password: str = "",
    invitation: str = "",
    address: str = "",
    user_agent: str = "",
) -> SignedUp:
    """A new account in the free tier, or in tier and role of the invitation. `address`: the network's, of who asks.

    With SMTP the address is confirmed by letter first, and the password that counts is chosen then, unless the
    invitation went to exactly that address and a password is given. Whether the address has an account already is told
    to its owner alone.
    Raises `NotAllowed` (closed), `InvalidField` (of all fields at once), `Conflict` (address taken, no SMTP),
    `RateLimited`, `Unavailable`.
    """
    mode = studio.settings.signup
    if mode is SignupMode.CLOSED:
        raise NotAllowed("This studio takes no new accounts. Ask whoever runs it.")
    buckets = throttle.sign_up_buckets(address)
    await throttle.take(studio.wakeups.redis, studio.clock, buckets)
    wanted = email.strip()
    wrong: list[InvalidField] = []
    with noting(wrong):
        check_email(wanted)
    with noting(wrong):
        if password or not studio.mailer.enabled:
            check_password(password, email=wanted)
    with noting(wrong):
        await _check_invitation(studio, invitation.strip())
    refuse_all(wrong)
    password_hash = await hash_password(password) if password else None
    try:
        async with studio.db.transaction() as session:
            tier, role, invited_address = DEFAULT_TIER, Role.CREATOR, None
            if invitation.strip():
                taken = await people.take_one_time_token(session, invitation.strip(), Purpose.INVITATION)
                if taken is None:
                    raise InvalidField(_ENDED, param="invitation")
                if taken.email is not None and taken.email.lower() != wanted.lower():
                    raise InvalidField("This invitation is for another address.", param="email")
                invited_address = taken.email
                tier = str(taken.payload.get("tier", tier))
                role = Role(str(taken.payload.get("role", role)))
            confirmed = not studio.mailer.enabled or (
                invited_address is not None and password_hash is not None
            )
            created = await add_user(
                session,
                email=wanted,
                password_hash=password_hash,
                tier=tier,
                role=role,
                name="",
                confirmed=confirmed,
                origin=Origin.INVITATION if invitation.strip() else Origin.SELF,
                # Without mail nobody answers for an address that its owner typed; an invitation does.
                vouched=confirmed and bool(invitation.strip()),
                network=network_of(studio, address),
            )
            if confirmed:
                user = await session.get_one(User, created.id)
                return SignedUp(signed_in=await open_session(session, user, user_agent=user_agent))
    except Conflict:
        if not studio.mailer.enabled:
            raise
        await _tell_owner(studio, wanted, password_hash, address)
        return SignedUp(signed_in=None)
    await _ask_for_confirmation(studio, user_id=created.id, email=created.email, address=address)
    return SignedUp(signed_in=None)


async def _check_invitation(studio: Studio, code: str) -> None:
    if code and await read_invitation(studio, code) is None:
        raise InvalidField(_ENDED, param="invitation")
    if not code and studio.settings.signup is SignupMode.INVITATION:
        raise InvalidField(
            "This studio is by invitation: enter the code that you were given.", param="invitation"
        )


async def _tell_owner(studio: Studio, email: str, password_hash: str | None, address: str) -> None:
    async with studio.db.transaction() as session:
        user = await people.user_by_email(session, email, for_update=True)
        if user is None:
            return
        # Nobody has answered for the address yet: the last one to claim it may ask for the letter again by this.
        if user.email_confirmed_at is None:
            user.password_hash = password_hash
    if user.email_confirmed_at is None:
        await _ask_for_confirmation(studio, user_id=user.id, email=user.email, address=address)
    elif await _may_write(studio, user.email, address):
        await send_already_there(studio, email=user.email)


async def _ask_for_confirmation(studio: Studio, *, user_id: str, email: str, address: str) -> None:
    if await _may_write(studio, email, address):
        await send_confirmation(studio, user_id=user_id, email=email)


async def _may_write(studio: Studio, email: str, address: str) -> bool:
    """Whether that person may be sent another letter: the visitor, who may be anybody, isn't told."""
    try:
        await throttle.take(studio.wakeups.redis, studio.clock, throttle.letter_buckets(email, address))
    except RateLimited:
        log.info("sign_up.letter_withheld")
        return False
    return True
