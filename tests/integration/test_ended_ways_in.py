"""Ways in that have ended: codes, letters, keys and passwords that were good once open nothing."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from sqlalchemy import text

from backend.auth import passwords
from backend.domain.errors import InvalidField, NotSignedIn, RateLimited
from backend.mail import SmtpMailer
from backend.services import sign_in as sign_in_module
from backend.services.create_api_key import create_api_key_for
from backend.services.create_invitation import create_invitation
from backend.services.create_user import create_user
from backend.services.identify import identify_key
from backend.services.read_invitation import read_invitation
from backend.services.reset_password import request_password_reset, reset_password
from backend.services.sign_in import sign_in
from backend.services.sign_up import sign_up
from backend.studio import Studio
from tests.integration.smtp_sink import SmtpSink
from tests.integration.test_accounts import PASSWORD, address, token_in


async def sql(studio: Studio, statement: str, **values: object) -> None:
    async with studio.db.transaction() as session:
        await session.execute(text(statement), values)


@pytest.fixture
async def post(studio: Studio) -> AsyncIterator[tuple[Studio, SmtpSink]]:
    sink = SmtpSink()
    url = await sink.start()
    yield replace(studio, mailer=SmtpMailer(url, sender="Zoetrope <mail@studio.test>")), sink
    await sink.stop()


async def people_there(studio: Studio) -> int:
    async with studio.db.reading() as session:
        return int((await session.execute(text("SELECT count(*) FROM users"))).scalar_one())


async def test_an_invitation_that_ended_lets_nobody_in(studio: Studio) -> None:
    code = (await create_invitation(studio, tier="pro")).partition("invitation=")[2]
    assert await read_invitation(studio, code) is not None
    await sql(studio, "UPDATE one_time_tokens SET expires_at = now() - interval '1 second'")
    assert await read_invitation(studio, code) is None
    with pytest.raises(InvalidField) as refused:
        await sign_up(studio, email=address(), password=PASSWORD, invitation=code)
    assert refused.value.param == "invitation"
    assert await people_there(studio) == 0


async def test_an_invitation_that_was_used_offers_nothing_any_more(studio: Studio) -> None:
    code = (await create_invitation(studio)).partition("invitation=")[2]
    await sign_up(studio, email=address(), password=PASSWORD, invitation=code)
    assert await read_invitation(studio, code) is None


async def test_a_letters_token_is_no_invitation(post: tuple[Studio, SmtpSink]) -> None:
    studio, sink = post
    email = address()
    await create_user(studio, email=email, password=PASSWORD)
    await request_password_reset(studio, email=email)
    token = token_in(sink.letters[-1].get_content())
    with pytest.raises(InvalidField) as refused:
        await sign_up(studio, email=address(), password=PASSWORD, invitation=token)
    assert refused.value.param == "invitation"
    await reset_password(studio, token=token, password="a new long sentence")


@pytest.mark.parametrize(
    "since",
    [
        pytest.param("UPDATE users SET email = 'moved.' || email", id="to an older address"),
        pytest.param("UPDATE users SET suspended_at = now()", id="to somebody suspended since"),
    ],
)
async def test_a_reset_letter_whose_person_changed_since_opens_nothing(
    post: tuple[Studio, SmtpSink], since: str
) -> None:
    studio, sink = post
    email = address()
    await create_user(studio, email=email, password=PASSWORD)
    await request_password_reset(studio, email=email)
    await sql(studio, since)
    with pytest.raises(InvalidField) as refused:
        await reset_password(
            studio, token=token_in(sink.letters[-1].get_content()), password="a new long sentence"
        )
    assert refused.value.param == "token"
    async with studio.db.reading() as session:
        stored = (await session.execute(text("SELECT password_hash FROM users"))).scalar_one()
    assert await passwords.verify_password(PASSWORD, stored)


async def test_a_suspended_persons_keys_open_nothing(studio: Studio) -> None:
    email = address()
    await create_user(studio, email=email)
    key = await create_api_key_for(studio, email=email)
    await identify_key(studio, key)
    await sql(studio, "UPDATE users SET suspended_at = now()")
    with pytest.raises(NotSignedIn):
        await identify_key(studio, key)


async def test_a_password_that_is_changed_while_it_is_looked_at_lets_nobody_in(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    email = address()
    await create_user(studio, email=email, password=PASSWORD)

    async def changed_meanwhile(password: str, password_hash: str | None) -> bool:
        matches = await passwords.verify_password(password, password_hash)
        await sql(
            studio, "UPDATE users SET password_hash = :h", h=await passwords.hash_password("another sentence")
        )
        return matches

    monkeypatch.setattr(sign_in_module, "verify_password", changed_meanwhile)
    with pytest.raises(InvalidField):
        await sign_in(studio, email=email, password=PASSWORD)
    async with studio.db.reading() as session:
        assert (await session.execute(text("SELECT count(*) FROM sessions"))).scalar_one() == 0


async def test_sign_ups_from_one_network_are_counted(studio: Studio) -> None:
    for _ in range(20):
        with pytest.raises(InvalidField):
            await sign_up(studio, email=address(), password=PASSWORD, address="192.0.2.7")
    with pytest.raises(RateLimited):
        await sign_up(studio, email=address(), password=PASSWORD, address="192.0.2.7")
    with pytest.raises(InvalidField):
        await sign_up(studio, email=address(), password=PASSWORD, address="192.0.2.8")
