"""What an operator does to people who are there already: another role, a closed account, an invitation with a role."""

import asyncio
import dataclasses

import pytest
from sqlalchemy import text

from backend.auth.principal import Role
from backend.db.models import Worker
from backend.domain.errors import Conflict, InvalidField, NotAllowed, NotFound, NotSignedIn
from backend.mail import SmtpMailer
from backend.services.change_role import change_role
from backend.services.close_user import close_user, reopen_user
from backend.services.create_api_key import create_api_key_for
from backend.services.create_invitation import create_invitation
from backend.services.create_sign_in_link import create_sign_in_link, follow_sign_in_link
from backend.services.create_user import create_user
from backend.services.identify import identify_key, identify_session
from backend.services.list_workers import list_workers
from backend.services.sign_in import sign_in
from backend.services.sign_up import sign_up
from backend.settings import SignupMode
from backend.studio import Studio
from tests.integration.smtp_sink import SmtpSink

PASSWORD = "a long enough sentence"
EVE, ADA = "eve@example.org", "ada@example.org"


async def audited(studio: Studio, action: str) -> int:
    async with studio.db.reading() as session:
        counted = await session.execute(
            text("SELECT count(*) FROM audit_entries WHERE action = :action"), {"action": action}
        )
        return int(counted.scalar_one())


async def test_a_new_role_is_in_force_in_a_session_that_is_open(studio: Studio) -> None:
    await create_user(studio, email=EVE, password=PASSWORD)
    session = await sign_in(studio, email=EVE, password=PASSWORD)
    await change_role(studio, email=EVE, role=Role.MODERATOR)
    principal = await identify_session(studio, session.token)
    assert principal is not None
    assert principal.role is Role.MODERATOR
    assert await audited(studio, "user.role") == 1


async def test_a_closed_account_ends_sessions_links_and_keys_at_once(studio: Studio) -> None:
    await create_user(studio, email=EVE, password=PASSWORD)
    session = await sign_in(studio, email=EVE, password=PASSWORD)
    key = await create_api_key_for(studio, email=EVE)
    link = (await create_sign_in_link(studio, email=EVE)).rpartition("/")[2]
    await close_user(studio, email=EVE)
    await close_user(studio, email=EVE)
    assert await identify_session(studio, session.token) is None
    with pytest.raises(NotSignedIn):
        await identify_key(studio, key)
    with pytest.raises(InvalidField):
        await follow_sign_in_link(studio, token=link)
    for way_in in (create_api_key_for, create_sign_in_link):
        with pytest.raises(NotAllowed, match="users reopen"):
            await way_in(studio, email=EVE)
    with pytest.raises(NotAllowed):
        await sign_in(studio, email=EVE, password=PASSWORD)
    assert await audited(studio, "user.closed") == 1

    await reopen_user(studio, email=EVE)
    assert (await sign_in(studio, email=EVE, password=PASSWORD)).token
    assert await identify_session(studio, session.token) is None, "what ended stays ended"
    with pytest.raises(NotSignedIn):
        await identify_key(studio, key)


async def test_the_last_admin_stays_one_however_it_is_tried(studio: Studio) -> None:
    await create_user(studio, email=EVE, role=Role.ADMIN)
    for tried in (change_role(studio, email=EVE, role=Role.CREATOR), close_user(studio, email=EVE)):
        with pytest.raises(Conflict):
            await tried
    await create_user(studio, email=ADA, role=Role.ADMIN)
    both = await asyncio.gather(
        close_user(studio, email=EVE),
        change_role(studio, email=ADA, role=Role.CREATOR),
        return_exceptions=True,
    )
    assert [type(end).__name__ for end in both if end is not None] == ["Conflict"]


async def test_nobody_of_that_address_is_said_with_where_the_addresses_are(studio: Studio) -> None:
    with pytest.raises(NotFound, match="zoetrope users list"):
        await close_user(studio, email=EVE)
    with pytest.raises(NotFound, match="zoetrope users list"):
        await create_api_key_for(studio, email="you@example.org")


async def test_an_invitation_brings_its_role(studio: Studio) -> None:
    code = (await create_invitation(studio, role=Role.MODERATOR)).partition("invitation=")[2]
    done = await sign_up(studio, email=EVE, password=PASSWORD, invitation=code)
    assert done.signed_in is not None
    principal = await identify_session(studio, done.signed_in.token)
    assert principal is not None
    assert principal.role is Role.MODERATOR


async def test_with_mail_nobody_has_to_choose_a_password_before_the_letter(studio: Studio) -> None:
    with pytest.raises(InvalidField):
        await sign_up(_open(studio), email=EVE)
    sink = SmtpSink()
    mailing = dataclasses.replace(
        _open(studio), mailer=SmtpMailer(await sink.start(), sender="Zoetrope <mail@studio.test>")
    )
    assert (await sign_up(mailing, email=EVE)).signed_in is None
    code = (await create_invitation(studio, email=ADA)).partition("invitation=")[2]
    assert (await sign_up(mailing, email=ADA, invitation=code)).signed_in is None
    assert [letter["To"] for letter in sink.letters] == [EVE, ADA]
    await sink.stop()


async def test_workers_are_listed_with_what_keeps_them_from_work(studio: Studio) -> None:
    async with studio.db.transaction() as session:
        session.add(Worker(id="a", boot_id="1", recipes=["mini"], resident=["mini"], drain_requested=True))
        session.add(Worker(id="b", recipes=[], resident=[]))
        session.add(Worker(id="c", state="removed", recipes=[], resident=[]))
    first, second = await list_workers(studio)
    assert (first.id, first.draining, first.silence is None) == ("a", True, False)
    assert (second.id, second.silence) == ("b", None)


def _open(studio: Studio) -> Studio:
    return dataclasses.replace(
        studio, settings=studio.settings.model_copy(update={"signup": SignupMode.OPEN})
    )
