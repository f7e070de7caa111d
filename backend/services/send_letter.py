"""The letters about an account, each with a link that works once."""

from datetime import timedelta
from enum import StrEnum

from backend.db.repositories import people
from backend.log import get_logger
from backend.mail import Letter, MailError
from backend.studio import Studio

log = get_logger(__name__)

CONFIRMATION_LIFE = timedelta(days=3)
RESET_LIFE = timedelta(hours=1)


class Purpose(StrEnum):
    """What a one-time token is for."""

    SIGN_IN = "sign_in"
    CONFIRM_EMAIL = "confirm_email"
    RESET_PASSWORD = "reset_password"
    INVITATION = "invitation"


async def send_confirmation(studio: Studio, *, user_id: str, email: str) -> bool:
    """Ask whether this address is theirs.

    False: the letter could not be handed over; signing in asks again.
    """
    async with studio.db.transaction() as session:
        token = await people.make_one_time_token(
            session, purpose=Purpose.CONFIRM_EMAIL, ttl=CONFIRMATION_LIFE, user_id=user_id, email=email
        )
    return await _send(
        studio,
        Letter(
            to=email,
            subject="Confirm your address for Zoetrope",
            text=(
                "Somebody made an account at a Zoetrope studio with this address. If it was you, open this"
                " page within three days and choose the password that you will sign in with:\n\n"
                f"{studio.settings.public_url}/confirm?token={token}\n\n"
                "If it wasn't you, do nothing: without the page the account can't be used.\n"
            ),
        ),
    )


async def send_reset(studio: Studio, *, user_id: str, email: str) -> bool:
    """The way to a new password. False: the letter could not be handed over."""
    async with studio.db.transaction() as session:
        token = await people.make_one_time_token(
            session, purpose=Purpose.RESET_PASSWORD, ttl=RESET_LIFE, user_id=user_id, email=email
        )
    return await _send(
        studio,
        Letter(
            to=email,
            subject="A new password for Zoetrope",
            text=(
                "Somebody asked for a new password for your account. If it was you, choose one within the"
                f" hour:\n\n{studio.settings.public_url}/reset?token={token}\n\n"
                "If it wasn't you, do nothing: your password stays as it is.\n"
            ),
        ),
    )


async def send_already_there(studio: Studio, *, email: str) -> bool:
    """Somebody signed up with an address that has an account: its owner hears of it, the visitor doesn't."""
    return await _send(
        studio,
        Letter(
            to=email,
            subject="You have a Zoetrope account already",
            text=(
                "Somebody tried to make an account with this address, and there is one. If it was you, sign"
                f" in or ask for a new password:\n\n{studio.settings.public_url}/sign-in\n"
            ),
        ),
    )


async def _send(studio: Studio, letter: Letter) -> bool:
    try:
        await studio.mailer.send(letter)
    except MailError as error:
        log.warning("letter.lost", subject=letter.subject, error=str(error))
        return False
    return True
