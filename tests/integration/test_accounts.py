"""People and their ways in, on a real database: users, sessions, links, letters, keys, first credits."""

import asyncio
import dataclasses
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta

import pytest
from sqlalchemy import text

from backend.auth import passwords
from backend.auth.principal import Principal, Role, Scope
from backend.db.repositories import ledger
from backend.domain.errors import (
    Conflict,
    InvalidField,
    NotAllowed,
    NotFound,
    NotSignedIn,
    RateLimited,
    Unavailable,
)
from backend.ids import new_trace_id
from backend.mail import SmtpMailer
from backend.services.confirm_email import confirm_email
from backend.services.create_api_key import create_api_key, create_api_key_for
from backend.services.create_first_admin_link import create_first_admin_link
from backend.services.create_invitation import create_invitation
from backend.services.create_local_key import create_local_key
from backend.services.create_sign_in_link import create_sign_in_link, follow_sign_in_link
from backend.services.create_user import create_user
from backend.services.get_account import get_account
from backend.services.grant_credits import grant_credits
from backend.services.identify import identify_cookie, identify_key, identify_session
from backend.services.list_api_keys import list_api_keys
from backend.services.renew_credits import renew_month
from backend.services.reset_password import request_password_reset, reset_password, set_password
from backend.services.revoke_api_key import revoke_api_key
from backend.services.sign_in import sign_in
from backend.services.sign_out import sign_out, sign_out_everywhere
from backend.services.sign_up import sign_up
from backend.settings import SignupMode
from backend.studio import Studio
from backend.wakeups import Wakeups, connect
from jobs.expire import expire_once
from tests.integration.smtp_sink import SmtpSink

PASSWORD = "a long enough sentence"


def address() -> str:
    return f"{new_trace_id()[:10]}@example.org"


def open_to(studio: Studio, mode: SignupMode) -> Studio:
    return dataclasses.replace(studio, settings=studio.settings.model_copy(update={"signup": mode}))


@pytest.fixture
async def post(studio: Studio) -> AsyncIterator[tuple[Studio, SmtpSink]]:
    """A studio that is open to all and sends letters to a sink."""
    sink = SmtpSink()
    url = await sink.start()
    mailer = SmtpMailer(url, sender="Zoetrope <mail@studio.test>")
    yield dataclasses.replace(open_to(studio, SignupMode.OPEN), mailer=mailer), sink
    await sink.stop()


async def signed_in(studio: Studio, email: str, role: Role = Role.CREATOR) -> Principal:
    await create_user(studio, email=email, password=PASSWORD, role=role)
    session = await sign_in(studio, email=email, password=PASSWORD)
    principal = await identify_session(studio, session.token)
    assert principal is not None
    return principal


def token_in(letter_text: str) -> str:
    found = re.search(r"token=([\w-]+)", letter_text)
    assert found
    return found[1]


async def test_a_new_person_signs_in_and_has_the_credits_of_their_tier(studio: Studio) -> None:
    email = address()
    await create_user(studio, email=f" {email} ", password=PASSWORD, tier="plus")
    session = await sign_in(studio, email=email.upper(), password=PASSWORD, user_agent="Browser")
    principal = await identify_cookie(studio, f"theme=dark; zoetrope_session={session.token}")
    assert principal is not None
    assert (principal.email, principal.tier, principal.role) == (email, "plus", Role.CREATOR)
    account = await get_account(studio, principal)
    assert (account.available, account.held) == (2_000, 0)


async def test_passwords_and_tokens_are_nowhere_in_the_database(studio: Studio) -> None:
    email = address()
    await create_user(studio, email=email, password=PASSWORD)
    session = await sign_in(studio, email=email, password=PASSWORD)
    key = await create_api_key_for(studio, email=email)
    async with studio.db.reading() as reading:
        for table in ("users", "sessions", "api_keys", "one_time_tokens", "audit_entries"):
            rows = str((await reading.execute(text(f"SELECT row_to_json(t)::text FROM {table} t"))).all())
            for secret in (PASSWORD, session.token, key):
                assert secret not in rows


async def test_one_address_is_one_person_however_it_is_written(studio: Studio) -> None:
    email = address()
    made = await asyncio.gather(
        *(create_user(studio, email=e) for e in (email, email.upper(), email)), return_exceptions=True
    )
    assert sorted(type(m).__name__ for m in made) == ["Conflict", "Conflict", "CreatedUser"]


@pytest.mark.parametrize(
    "email", ["", "nobody", "a@", "@b", "a b@c", "a@b\nBcc: x@y", "<a@b>", "x" * 300 + "@b"]
)
async def test_what_is_no_address_is_refused(studio: Studio, email: str) -> None:
    with pytest.raises(InvalidField) as refused:
        await create_user(studio, email=email)
    assert refused.value.param == "email"


async def test_an_unknown_tier_is_refused_with_the_ones_there_are(studio: Studio) -> None:
    with pytest.raises(InvalidField, match="free"):
        await create_user(studio, email=address(), tier="gold")


async def test_a_wrong_password_and_an_unknown_address_are_told_the_same(studio: Studio) -> None:
    email = address()
    await create_user(studio, email=email, password=PASSWORD)
    said = []
    for who in (email, address()):
        with pytest.raises(InvalidField) as refused:
            await sign_in(studio, email=who, password="not the password")
        said.append((refused.value.message, refused.value.param))
    assert said[0] == said[1]


async def test_a_person_without_password_cannot_sign_in_by_one(studio: Studio) -> None:
    email = address()
    await create_user(studio, email=email)
    for guess in ("", "nobody has this password"):
        with pytest.raises(InvalidField):
            await sign_in(studio, email=email, password=guess)


@pytest.mark.parametrize("valkey_is_there", [True, False])
async def test_guessing_is_slowed_down_also_without_valkey(studio: Studio, valkey_is_there: bool) -> None:
    email, where = address(), new_trace_id()
    await create_user(studio, email=email, password=PASSWORD)
    if not valkey_is_there:
        studio = dataclasses.replace(studio, wakeups=Wakeups(connect("redis://127.0.0.1:1")))
    for _ in range(8):
        with pytest.raises(InvalidField):
            await sign_in(studio, email=email, password="guess", address=where)
    with pytest.raises(RateLimited) as slowed:
        await sign_in(studio, email=email, password=PASSWORD, address=where)
    assert slowed.value.retry_after is not None
    assert timedelta(0) < slowed.value.retry_after <= timedelta(minutes=15)
    # The owner, elsewhere, is not locked out by it.
    await sign_in(studio, email=email, password=PASSWORD, address="elsewhere")


@pytest.mark.parametrize("valkey_is_there", [True, False])
async def test_of_many_guesses_at_once_no_more_are_looked_at_than_one_after_another(
    studio: Studio, monkeypatch: pytest.MonkeyPatch, valkey_is_there: bool
) -> None:
    email, where = address(), new_trace_id()
    await create_user(studio, email=email, password=PASSWORD)
    if not valkey_is_there:
        studio = dataclasses.replace(studio, wakeups=Wakeups(connect("redis://127.0.0.1:1")))
    looked_at = 0

    async def verify(password: str, password_hash: str | None) -> bool:
        nonlocal looked_at
        looked_at += 1
        return False

    monkeypatch.setattr("backend.services.sign_in.verify_password", verify)
    tries = await asyncio.gather(
        *(sign_in(studio, email=email, password=f"guess {i}", address=where) for i in range(50)),
        return_exceptions=True,
    )
    assert looked_at == 8
    assert sum(isinstance(t, RateLimited) for t in tries) == 42


async def test_right_passwords_do_not_use_up_an_address(studio: Studio) -> None:
    where = new_trace_id()
    email = address()
    await create_user(studio, email=email, password=PASSWORD)
    for _ in range(65):
        await sign_in(studio, email=email, password=PASSWORD, address=where)


async def test_wrong_current_passwords_are_counted_for_each_person_alone(studio: Studio) -> None:
    clumsy, other = await signed_in(studio, address()), await signed_in(studio, address())
    for _ in range(8):
        with pytest.raises(InvalidField):
            await set_password(studio, clumsy, password="a new long sentence", current="wrong")
    with pytest.raises(RateLimited):
        await set_password(studio, clumsy, password="a new long sentence", current=PASSWORD)
    for _ in range(8):
        with pytest.raises(InvalidField):
            await set_password(studio, other, password="a new long sentence", current="wrong")


@pytest.mark.parametrize("enter", [reset_password, confirm_email])
async def test_a_made_up_token_costs_no_hash(
    studio: Studio, monkeypatch: pytest.MonkeyPatch, enter: Callable[..., Awaitable[object]]
) -> None:
    async def hashed(password: str) -> str:
        raise AssertionError("a token that nobody was sent was worth a hash")

    monkeypatch.setattr("backend.services.reset_password.hash_password", hashed)
    where = new_trace_id()
    for _ in range(60):
        with pytest.raises(InvalidField) as refused:
            await enter(studio, token=new_trace_id(), password=PASSWORD, address=where)
        assert refused.value.param == "token"
    with pytest.raises(RateLimited):
        await enter(studio, token=new_trace_id(), password=PASSWORD, address=where)


async def test_so_many_hashes_wait_and_no_more() -> None:
    tries = await asyncio.gather(
        *(passwords.hash_password(PASSWORD) for _ in range(passwords.MAX_IN_HAND + 5)), return_exceptions=True
    )
    assert sum(isinstance(t, Unavailable) for t in tries) == 5
    assert await passwords.verify_password(PASSWORD, str(tries[0]))


async def test_a_try_that_nobody_had_time_to_look_at_does_not_count(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    email, where = address(), new_trace_id()
    await create_user(studio, email=email, password=PASSWORD)
    monkeypatch.setattr(passwords, "MAX_IN_HAND", 0)
    for _ in range(9):
        with pytest.raises(Unavailable):
            await sign_in(studio, email=email, password=PASSWORD, address=where)
    monkeypatch.undo()
    await sign_in(studio, email=email, password=PASSWORD, address=where)


@pytest.mark.parametrize(
    "password",
    [
        "short",
        " " * 12,
        "a" * 12,
        "abababababab",
        "ada@example.org123",
        "ADA@EXAMPLE.ORG12345678",
        "x" * 1025,
    ],
)
def test_a_password_that_is_next_to_none_is_refused(password: str) -> None:
    with pytest.raises(InvalidField) as refused:
        passwords.check_password(password, email="ada@example.org")
    assert refused.value.param == "password"


@pytest.mark.parametrize(
    "password",
    ["a long enough sentence", "ada likes bicycles", "k3$8;1-9_2ada!77", "  four words and blanks  "],
)
def test_a_password_of_ones_own_is_taken(password: str) -> None:
    assert passwords.check_password(password, email="ada@example.org") == password


async def test_a_session_ends_by_signing_out_by_time_and_by_suspension(studio: Studio) -> None:
    email = address()
    await create_user(studio, email=email, password=PASSWORD)
    tokens = [(await sign_in(studio, email=email, password=PASSWORD)).token for _ in range(3)]
    await sign_out(studio, tokens[0])
    assert await identify_session(studio, tokens[0]) is None
    async with studio.db.transaction() as session:
        await session.execute(
            text("UPDATE sessions SET expires_at = now() WHERE token_hash = encode(sha256(:t), 'hex')"),
            {"t": tokens[1].encode()},
        )
    assert await identify_session(studio, tokens[1]) is None
    assert await identify_session(studio, tokens[2]) is not None
    async with studio.db.transaction() as session:
        await session.execute(
            text("UPDATE users SET suspended_at = now() WHERE email = :email"), {"email": email}
        )
    assert await identify_session(studio, tokens[2]) is None
    with pytest.raises(NotAllowed):
        await sign_in(studio, email=email, password=PASSWORD)


async def test_signing_out_everywhere_ends_every_session_and_no_later_one(studio: Studio) -> None:
    email = address()
    me = await signed_in(studio, email)
    other = await sign_in(studio, email=email, password=PASSWORD)
    await sign_out_everywhere(studio, me)
    assert await identify_session(studio, other.token) is None
    again = await sign_in(studio, email=email, password=PASSWORD)
    assert await identify_session(studio, again.token) is not None


@pytest.mark.parametrize(
    "cookie", ["", "zoetrope_session=", "zoetrope_session=x", 'a="', "zoetrope_session=\x00é"]
)
async def test_odd_cookies_are_nobody(studio: Studio, cookie: str) -> None:
    assert await identify_cookie(studio, cookie) is None


async def test_a_link_signs_in_once(studio: Studio) -> None:
    email = address()
    await create_user(studio, email=email)
    link = await create_sign_in_link(studio, email=email)
    assert link.startswith("http://studio.test/auth/link/")
    token = link.rpartition("/")[2]
    both = await asyncio.gather(
        *(follow_sign_in_link(studio, token=token) for _ in range(5)), return_exceptions=True
    )
    assert [type(b).__name__ for b in both].count("SignedIn") == 1


async def test_the_first_admins_link_is_given_until_an_admin_came_in(studio: Studio) -> None:
    first = await create_first_admin_link(studio)
    second = await create_first_admin_link(studio)
    assert first
    assert second
    with pytest.raises(InvalidField):
        await follow_sign_in_link(studio, token=first.rpartition("/")[2])
    session = await follow_sign_in_link(studio, token=second.rpartition("/")[2])
    principal = await identify_session(studio, session.token)
    assert principal is not None
    assert principal.may_administer
    assert await create_first_admin_link(studio) is None
    program = await identify_key(studio, await create_local_key(studio))
    assert program.account_id == principal.account_id
    async with studio.db.transaction() as reset:
        await reset.execute(text("UPDATE users SET role = 'creator' WHERE role = 'admin'"))


async def test_sign_up_is_by_invitation_unless_opened(studio: Studio) -> None:
    with pytest.raises(InvalidField) as refused:
        await sign_up(studio, email=address(), password=PASSWORD)
    assert refused.value.param == "invitation"
    with pytest.raises(NotAllowed):
        await sign_up(open_to(studio, SignupMode.CLOSED), email=address(), password=PASSWORD)
    done = await sign_up(open_to(studio, SignupMode.OPEN), email=address(), password=PASSWORD)
    assert done.signed_in is not None


async def test_an_invitation_lets_one_person_in_to_its_tier(studio: Studio) -> None:
    link = await create_invitation(studio, tier="pro")
    code = link.partition("invitation=")[2]
    with pytest.raises(InvalidField):
        await sign_up(studio, email=address(), password="short", invitation=code)
    taken = address()
    await create_user(studio, email=taken)
    with pytest.raises(Conflict):
        await sign_up(studio, email=taken, password=PASSWORD, invitation=code)
    done = await sign_up(studio, email=address(), password=PASSWORD, invitation=code)
    assert done.signed_in is not None
    principal = await identify_session(studio, done.signed_in.token)
    assert principal is not None
    assert principal.tier == "pro"
    with pytest.raises(InvalidField, match="used"):
        await sign_up(studio, email=address(), password=PASSWORD, invitation=code)


async def test_an_invitation_to_an_address_is_for_that_address(studio: Studio) -> None:
    email = address()
    code = (await create_invitation(studio, email=email)).partition("invitation=")[2]
    with pytest.raises(InvalidField) as refused:
        await sign_up(studio, email=address(), password=PASSWORD, invitation=code)
    assert refused.value.param == "email"
    assert (await sign_up(studio, email=email, password=PASSWORD, invitation=code)).signed_in is not None


async def test_only_admins_invite_and_grant(studio: Studio) -> None:
    creator = await signed_in(studio, address())
    with pytest.raises(NotAllowed):
        await create_invitation(studio, by=creator)
    with pytest.raises(NotAllowed):
        await grant_credits(studio, email=creator.email, amount=5, by=creator)
    with pytest.raises(NotAllowed):
        await create_user(studio, email=address(), by=creator)


async def test_with_smtp_an_address_is_confirmed_by_letter_before_the_first_sign_in(
    post: tuple[Studio, SmtpSink],
) -> None:
    studio, sink = post
    email = address()
    assert (await sign_up(studio, email=email, password=PASSWORD)).signed_in is None
    with pytest.raises(NotAllowed, match="Confirm"):
        await sign_in(studio, email=email, password=PASSWORD)
    letter = sink.letters[0]
    assert letter["To"] == email
    token = token_in(letter.get_content())
    session = await confirm_email(studio, token=token, password=PASSWORD)
    assert await identify_session(studio, session.token) is not None
    await sign_in(studio, email=email, password=PASSWORD)
    with pytest.raises(InvalidField):
        await confirm_email(studio, token=token, password=PASSWORD)


async def test_of_two_who_sign_up_with_one_address_only_its_owner_gets_in(
    post: tuple[Studio, SmtpSink],
) -> None:
    studio, sink = post
    email = address()
    await sign_up(studio, email=email, password="the intruder's sentence")
    await sign_up(studio, email=email, password="the owner's sentence")
    # The owner presses either letter, even the one that the intruder caused.
    session = await confirm_email(
        studio, token=token_in(sink.letters[0].get_content()), password="the owner's sentence"
    )
    with pytest.raises(InvalidField):
        await sign_in(studio, email=email, password="the intruder's sentence")
    await sign_in(studio, email=email, password="the owner's sentence")
    assert await identify_session(studio, session.token) is not None


async def test_confirming_ends_what_was_open_before(post: tuple[Studio, SmtpSink]) -> None:
    studio, sink = post
    email = address()
    await sign_up(studio, email=email, password=PASSWORD)
    link = await create_sign_in_link(studio, email=email)
    before = await follow_sign_in_link(studio, token=link.rpartition("/")[2])
    await confirm_email(studio, token=token_in(sink.letters[0].get_content()), password=PASSWORD)
    assert await identify_session(studio, before.token) is None


async def test_a_strangers_mailbox_is_not_flooded_by_sign_ups_and_sign_ins(
    post: tuple[Studio, SmtpSink],
) -> None:
    studio, sink = post
    email = address()
    for number in range(8):
        await sign_up(studio, email=email, password=PASSWORD, address=f"203.0.113.{number}")
    for number in range(4):
        with pytest.raises(RateLimited):
            await sign_in(studio, email=email, password=PASSWORD, address=f"203.0.113.{number}")
    assert len(sink.letters) == 5


async def _press(studio: Studio, token: str, purpose: str) -> None:
    if purpose == "reset":
        await reset_password(studio, token=token, password="a new long sentence")
    elif purpose == "confirm":
        await confirm_email(studio, token=token, password="a new long sentence")
    else:
        await follow_sign_in_link(studio, token=token)


@pytest.mark.parametrize("letter", ["reset", "confirm", "link"])
@pytest.mark.parametrize("end", ["reset", "confirm", "change", "sign out everywhere"])
async def test_older_letters_end_with_the_password_and_the_sessions(
    post: tuple[Studio, SmtpSink], letter: str, end: str
) -> None:
    studio, sink = post
    email = address()
    await sign_up(studio, email=email, password=PASSWORD)
    await sign_up(studio, email=email, password=PASSWORD)
    older, newer = (token_in(sent.get_content()) for sent in sink.letters[-2:])
    if letter == "reset":
        await request_password_reset(studio, email=email)
        older = token_in(sink.letters[-1].get_content())
    elif letter == "link":
        older = (await create_sign_in_link(studio, email=email)).rpartition("/")[2]
    if end == "reset":
        await request_password_reset(studio, email=email)
        await _press(studio, token_in(sink.letters[-1].get_content()), "reset")
    elif end == "confirm":
        await _press(studio, newer, "confirm")
    else:
        entrance = (await create_sign_in_link(studio, email=email)).rpartition("/")[2]
        me = await identify_session(studio, (await follow_sign_in_link(studio, token=entrance)).token)
        assert me is not None
        if end == "change":
            await set_password(studio, me, password="a new long sentence", current=PASSWORD)
        else:
            await sign_out_everywhere(studio, me)
    with pytest.raises(InvalidField) as refused:
        await _press(studio, older, letter)
    assert refused.value.param == "token"


async def test_two_letters_pressed_at_once_let_one_in(post: tuple[Studio, SmtpSink]) -> None:
    studio, sink = post
    email = address()
    await create_user(studio, email=email, password=PASSWORD)
    for _ in range(4):
        await request_password_reset(studio, email=email)
    tokens = [token_in(letter.get_content()) for letter in sink.letters]
    done = await asyncio.gather(
        *(reset_password(studio, token=t, password=f"sentence number {i}") for i, t in enumerate(tokens)),
        return_exceptions=True,
    )
    assert sorted(type(d).__name__ for d in done) == ["InvalidField"] * 3 + ["SignedIn"]


async def test_with_smtp_a_visitor_never_learns_who_has_an_account(post: tuple[Studio, SmtpSink]) -> None:
    studio, sink = post
    email = address()
    await create_user(studio, email=email, password=PASSWORD)
    assert (await sign_up(studio, email=email, password="another long sentence")).signed_in is None
    await request_password_reset(studio, email=address())
    assert [letter["Subject"] for letter in sink.letters] == ["You have a Zoetrope account already"]
    await sign_in(studio, email=email, password=PASSWORD)


async def test_a_reset_letter_sets_a_new_password_and_ends_other_sessions(
    post: tuple[Studio, SmtpSink],
) -> None:
    studio, sink = post
    email = address()
    me = await signed_in(studio, email)
    old = await sign_in(studio, email=email, password=PASSWORD)
    await request_password_reset(studio, email=email)
    token = token_in(sink.letters[-1].get_content())
    with pytest.raises(InvalidField):
        await confirm_email(studio, token=token, password=PASSWORD)
    with pytest.raises(InvalidField):
        await reset_password(studio, token=token, password="short")
    session = await reset_password(studio, token=token, password="a new long sentence")
    assert await identify_session(studio, session.token) == me
    assert await identify_session(studio, old.token) is None
    with pytest.raises(InvalidField):
        await reset_password(studio, token=token, password="and another sentence")
    await sign_in(studio, email=email, password="a new long sentence")


async def test_a_letter_that_cannot_be_sent_fails_no_sign_up(studio: Studio) -> None:
    away = dataclasses.replace(
        open_to(studio, SignupMode.OPEN), mailer=SmtpMailer("smtp://127.0.0.1:1", sender="a@b.example")
    )
    assert (await sign_up(away, email=address(), password=PASSWORD)).signed_in is None


async def test_a_password_is_changed_by_who_knows_it(studio: Studio) -> None:
    me = await signed_in(studio, address())
    with pytest.raises(InvalidField) as refused:
        await set_password(studio, me, password="a new long sentence", current="wrong")
    assert refused.value.param == "current"
    session = await set_password(studio, me, password="a new long sentence", current=PASSWORD)
    assert await identify_session(studio, session.token) is not None


async def test_a_key_is_shown_once_and_knows_its_account_and_scopes(studio: Studio) -> None:
    me = await signed_in(studio, address(), Role.ADMIN)
    made = await create_api_key(studio, me, name="render farm", scopes=["videos:read"])
    found = await identify_key(studio, made.secret)
    assert (found.account_id, found.scopes) == (me.account_id, {Scope.VIDEOS_READ})
    assert not found.may_moderate
    with pytest.raises(NotAllowed):
        found.require(Scope.VIDEOS_WRITE)
    (listed,) = await list_api_keys(studio, me)
    assert listed.hint.endswith(made.secret[-4:])
    assert listed.last_used_at is not None
    assert made.secret not in repr(listed)


async def test_a_key_makes_no_keys(studio: Studio) -> None:
    email = address()
    await create_user(studio, email=email)
    program = await identify_key(studio, await create_api_key_for(studio, email=email))
    with pytest.raises(NotAllowed):
        await create_api_key(studio, program, name="more")
    with pytest.raises(NotAllowed):
        await list_api_keys(studio, program)


async def test_a_revoked_or_expired_or_foreign_key_opens_nothing(studio: Studio) -> None:
    me, other = await signed_in(studio, address()), await signed_in(studio, address())
    made = await create_api_key(studio, me, name="one", expires_in=timedelta(days=1))
    with pytest.raises(NotFound):
        await revoke_api_key(studio, other, made.key.id)
    await identify_key(studio, made.secret)
    async with studio.db.transaction() as session:
        await session.execute(
            text("UPDATE api_keys SET expires_at = now() WHERE id = :id"), {"id": made.key.id}
        )
    with pytest.raises(NotSignedIn):
        await identify_key(studio, made.secret)
    second = await create_api_key(studio, me, name="two")
    await revoke_api_key(studio, me, second.key.id)
    for key in (second.secret, "sk-zt-", "sk-zt-é", "", "sk-openai", second.secret[:-1]):
        with pytest.raises(NotSignedIn):
            await identify_key(studio, key)


async def test_bad_scopes_names_and_lives_are_refused(studio: Studio) -> None:
    me = await signed_in(studio, address())
    with pytest.raises(InvalidField, match="videos:read"):
        await create_api_key(studio, me, name="x", scopes=["everything"])
    with pytest.raises(InvalidField):
        await create_api_key(studio, me, name="x", scopes=[])
    with pytest.raises(InvalidField):
        await create_api_key(studio, me, name=" ")
    with pytest.raises(InvalidField):
        await create_api_key(studio, me, name="x", expires_in=timedelta(0))


async def test_a_grant_is_in_the_balance_and_in_both_books(studio: Studio) -> None:
    email = address()
    await create_user(studio, email=email)
    granted = await grant_credits(studio, email=email, amount=300, reason="welcome")
    assert granted.available == 500
    async with studio.db.reading() as session:
        assert await ledger.balance(session, granted.account_id) == (500, 0)
        books = dict(
            (
                await session.execute(
                    text("SELECT book, sum(amount) FROM ledger_entries WHERE account_id = :a GROUP BY book"),
                    {"a": granted.account_id},
                )
            ).all()
        )
    assert books == {"issued": -500, "available": 500}
    with pytest.raises(NotFound):
        await grant_credits(studio, email=address(), amount=1)
    with pytest.raises(InvalidField):
        await grant_credits(studio, email=email, amount=0)


async def test_the_months_credits_are_given_once_whoever_asks(studio: Studio) -> None:
    email = address()
    created = await create_user(studio, email=email)
    async with studio.db.transaction() as session:
        await session.execute(
            text(
                "UPDATE grants SET external_ref = 'monthly:' || account_id || :then,"
                " expires_at = '2020-02-01Z' WHERE account_id = :a"
            ),
            {"a": created.account_id, "then": ":2020-01"},
        )
        await session.execute(
            text("UPDATE accounts SET credited_month = '2020-01' WHERE id = :a"), {"a": created.account_id}
        )
    await asyncio.gather(*(expire_once(studio) for _ in range(8)))
    assert await renew_month(studio) == 0
    async with studio.db.reading() as session:
        assert await ledger.balance(session, created.account_id) == (200, 0)
