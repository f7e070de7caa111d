"""Signing in and out over HTTP: cookies, links, letters, and what a foreign page can't do."""

import asyncio
import dataclasses
import ipaddress
import re
from collections.abc import AsyncIterator

import httpx
import pytest
from sqlalchemy import text

from backend import doctor
from backend.api.app import create_app
from backend.auth.principal import Role
from backend.db.engine import Database
from backend.ids import IdPrefix, new_id, new_trace_id
from backend.mail import SmtpMailer
from backend.services.create_api_key import create_api_key_for
from backend.services.create_sign_in_link import create_sign_in_link
from backend.services.create_user import create_user
from backend.settings import SignupMode
from backend.studio import Studio
from backend.untrusted_proxy import remembered_proxy
from backend.wakeups import Wakeups, connect
from backend.web_process import WebProcess
from tests.integration.smtp_sink import SmtpSink

PASSWORD = "a long enough sentence"
OURS = {"x-zoetrope": "1"}


def browser(studio: Studio, address: str = "127.0.0.1") -> httpx.AsyncClient:
    transport = httpx.ASGITransport(create_app(WebProcess(lambda: studio)), client=(address, 1))
    return httpx.AsyncClient(transport=transport, base_url="http://studio.test", headers=OURS)


@pytest.fixture
async def http(studio: Studio) -> AsyncIterator[httpx.AsyncClient]:
    async with browser(studio) as client:
        yield client


async def person(studio: Studio, role: Role = Role.CREATOR) -> dict[str, str]:
    email = f"{new_trace_id()}@example.org"
    await create_user(studio, email=email, password=PASSWORD, role=role)
    return {"email": email, "password": PASSWORD}


async def test_signing_in_sets_a_cookie_that_scripts_cannot_read(
    studio: Studio, http: httpx.AsyncClient
) -> None:
    answer = await http.post("/auth/sign-in", json=await person(studio))
    cookie = answer.headers["set-cookie"]
    assert answer.json() == {"signed_in": True}
    assert {"HttpOnly", "SameSite=lax", "Path=/"} <= set(cookie.split("; "))
    assert "Secure" not in cookie
    assert (await http.get("/v1/videos")).status_code == 200
    await http.post("/auth/sign-out")
    assert (await http.get("/v1/videos")).status_code == 401


async def test_behind_https_cookies_are_secure(studio: Studio) -> None:
    settings = studio.settings.model_copy(update={"public_url": "https://studio.test"})
    async with browser(dataclasses.replace(studio, settings=settings)) as http:
        answer = await http.post("/auth/sign-in", json=await person(studio))
    assert "Secure" in answer.headers["set-cookie"]


async def test_a_cookie_that_was_taken_is_worth_nothing_after_signing_out(
    studio: Studio, http: httpx.AsyncClient
) -> None:
    await http.post("/auth/sign-in", json=await person(studio))
    stolen = dict(http.cookies)
    await http.post("/auth/sign-out")
    async with browser(studio) as thief:
        thief.cookies.update(stolen)
        assert (await thief.get("/v1/videos")).status_code == 401


async def test_signing_out_everywhere_ends_other_browsers(studio: Studio, http: httpx.AsyncClient) -> None:
    who = await person(studio)
    async with browser(studio) as other:
        await http.post("/auth/sign-in", json=who)
        await other.post("/auth/sign-in", json=who)
        await http.post("/auth/sign-out", json={"everywhere": True})
        assert (await other.get("/v1/videos")).status_code == 401


async def test_a_wrong_password_names_its_field(studio: Studio, http: httpx.AsyncClient) -> None:
    who = await person(studio)
    for form in ({**who, "password": "wrong"}, {"email": "nobody@example.org", "password": "wrong"}):
        answer = await http.post("/auth/sign-in", json=form)
        assert answer.status_code == 400
        assert answer.json()["error"]["param"] == "password"
        assert "set-cookie" not in answer.headers
    missing = await http.post("/auth/sign-in", json={"email": "x@y.example"})
    assert (missing.status_code, missing.json()["error"]["param"]) == (400, "password")


async def test_guessing_ends_in_a_429_that_says_when(studio: Studio) -> None:
    who = {**await person(studio), "password": "wrong"}
    async with browser(studio, "203.0.113.7") as http:
        answers = [await http.post("/auth/sign-in", json=who) for _ in range(9)]
    assert [a.status_code for a in answers[:8]] == [400] * 8
    assert answers[8].status_code == 429
    assert 0 < int(answers[8].headers["retry-after"]) <= 900


@pytest.mark.parametrize(
    "headers",
    [
        {"x-zoetrope": ""} | {"origin": "https://evil.example"},
        OURS | {"origin": "https://evil.example"},
        OURS | {"origin": "null"},
        OURS | {"sec-fetch-site": "cross-site"},
        OURS | {"sec-fetch-site": "same-site"},
    ],
)
async def test_a_foreign_page_can_use_no_cookie(studio: Studio, headers: dict[str, str]) -> None:
    async with browser(studio) as http:
        await http.post("/auth/sign-in", json=await person(studio))
        for path in ("/v1/videos", "/auth/sign-out", "/auth/password", "/uploads"):
            answer = await http.post(path, json={"prompt": "x", "password": PASSWORD}, headers=headers)
            assert answer.status_code == 403
        assert (await http.get("/v1/videos")).status_code == 200


async def test_a_write_without_our_header_is_refused_even_from_nowhere(studio: Studio) -> None:
    async with browser(studio) as http:
        await http.post("/auth/sign-in", json=await person(studio))
        del http.headers["x-zoetrope"]
        assert (await http.post("/v1/videos", json={"prompt": "x"})).status_code == 403


async def test_our_own_pages_may_be_reached_by_the_public_address_behind_a_proxy(studio: Studio) -> None:
    settings = studio.settings.model_copy(update={"public_url": "https://clips.example.org"})
    async with browser(dataclasses.replace(studio, settings=settings)) as http:
        own = {
            "host": "127.0.0.1:8400",
            "origin": "https://clips.example.org",
            "sec-fetch-site": "same-origin",
        }
        assert (await http.post("/auth/sign-in", json=await person(studio), headers=own)).status_code == 200


async def test_a_scanner_that_opens_a_link_does_not_use_it_up(
    studio: Studio, http: httpx.AsyncClient
) -> None:
    who = await person(studio)
    link = await create_sign_in_link(studio, email=who["email"])
    del http.headers["x-zoetrope"]
    for _ in range(3):
        page = await http.get(link)
        assert page.status_code == 200
        assert page.headers["cache-control"] == "no-store"
        assert 'method="post"' in page.text
    entered = await http.post(link)
    assert (entered.status_code, entered.headers["location"]) == (303, "/")
    assert (await http.get("/v1/videos")).status_code == 200
    again = await http.post(link)
    assert (again.status_code, "was used" in again.text) == (410, True)
    for needed in ("zoetrope users link", "admin@localhost", 'href="/studio.css"', 'href="/sign-in"'):
        assert needed in again.text
    assert "style-src 'self'" in again.headers["content-security-policy"]
    assert (await http.post(link, headers={"origin": "https://evil.example"})).status_code == 403


async def test_nothing_of_a_links_address_gets_into_its_page_unescaped(http: httpx.AsyncClient) -> None:
    page = await http.get("/auth/link/%22%3E%3Cscript%3Ealert(1)%3C%2Fscript%3E")
    assert "<script>alert" not in page.text


async def test_sign_up_and_confirmation_by_letter(studio: Studio) -> None:
    sink = SmtpSink()
    mailer = SmtpMailer(await sink.start(), sender="Zoetrope <mail@studio.test>")
    settings = studio.settings.model_copy(update={"signup": SignupMode.OPEN})
    open_studio = dataclasses.replace(studio, settings=settings, mailer=mailer)
    who = {"email": f"{new_trace_id()}@example.org", "password": PASSWORD}
    async with browser(open_studio) as http:
        answer = await http.post("/auth/sign-up", json=who)
        assert answer.json()["signed_in"] is False
        assert "set-cookie" not in answer.headers
        assert (await http.post("/auth/sign-in", json=who)).status_code == 403
        letter = sink.letters[-1].get_content()
        found = re.search(r"http://studio\.test/confirm\?token=([\w-]+)", letter)
        assert found
        pressed = {"token": found[1], "password": PASSWORD}
        assert (await http.post("/auth/confirm", json=pressed)).json() == {"signed_in": True}
        assert (await http.get("/v1/videos")).status_code == 200

        known = await http.post("/auth/reset", json={"email": who["email"]})
        unknown = await http.post("/auth/reset-request", json={"email": "nobody@example.org"})
        assert known.json() == unknown.json()
        found = re.search(r"/reset\?token=([\w-]+)", sink.letters[-1].get_content())
        assert found
        changed = {"token": found[1], "password": "another long sentence"}
        assert (await http.post("/auth/reset", json=changed)).json() == {"signed_in": True}
        assert (await http.post("/auth/sign-in", json=who)).status_code == 400
        assert (await http.post("/auth/reset", json=changed)).json()["error"]["param"] == "token"
    await sink.stop()


async def test_a_closed_studio_takes_nobody(studio: Studio) -> None:
    settings = studio.settings.model_copy(update={"signup": SignupMode.CLOSED})
    async with browser(dataclasses.replace(studio, settings=settings)) as http:
        answer = await http.post("/auth/sign-up", json={"email": "a@b.example", "password": PASSWORD})
    assert answer.status_code == 403


async def test_all_that_is_wrong_with_a_new_account_is_told_at_once(studio: Studio) -> None:
    settings = studio.settings.model_copy(update={"signup": SignupMode.INVITATION})
    async with browser(dataclasses.replace(studio, settings=settings)) as http:
        wrong = {"email": "nobody", "password": "short", "invitation": "mistyped"}
        error = (await http.post("/auth/sign-up", json=wrong)).json()["error"]
        assert [error["param"], *(other["param"] for other in error["also"])] == [
            "email",
            "password",
            "invitation",
        ]
        missing = {"email": "new@studio.example", "password": PASSWORD}
        error = (await http.post("/auth/sign-up", json=missing)).json()["error"]
        assert (error["param"], "also" in error) == ("invitation", False)


async def test_evidence_is_for_moderators_and_previews_for_owners(studio: Studio) -> None:
    case, video = new_id(IdPrefix.REVIEW_CASE), new_id(IdPrefix.VIDEO)
    paths = (f"/evidence/{case}/video", f"/media/{video}/video", f"/media/{video}/preview")
    async with browser(studio) as http:
        assert [(await http.get(path)).status_code for path in paths] == [401, 401, 401]
        await http.post("/auth/sign-in", json=await person(studio))
        assert [(await http.get(path)).status_code for path in paths] == [403, 404, 404]
        await http.post("/auth/sign-in", json=await person(studio, Role.MODERATOR))
        assert [(await http.get(path)).status_code for path in paths] == [404, 404, 404]
        assert (await http.get("/evidence/%00/video")).status_code == 404
        assert (await http.get(f"/evidence/{case}/%00")).status_code == 404
    admin = await person(studio, Role.ADMIN)
    key = await create_api_key_for(studio, email=admin["email"])
    async with browser(studio) as http:
        answer = await http.get(paths[0], headers={"authorization": f"Bearer {key}"})
        assert answer.status_code == 403


async def test_without_valkey_the_api_stays_up(studio: Studio) -> None:
    deaf = dataclasses.replace(
        studio,
        wakeups=Wakeups(connect("redis://127.0.0.1:1")),
        settings=studio.settings.model_copy(update={"redis_url": "redis://127.0.0.1:1"}),
    )
    async with browser(deaf, "203.0.113.9") as http:
        assert (await http.post("/auth/sign-in", json=await person(studio))).status_code == 200
        assert (await http.get("/v1/videos")).status_code == 200
        answer = await http.post("/v1/videos", json={"prompt": "a red circle"})
        assert answer.status_code == 200
        assert (await http.get(f"/v1/videos/{answer.json()['id']}")).status_code == 200
        ready = await http.get("/readyz")
        assert ready.json()["checks"]["valkey"].startswith("away")


async def test_without_the_database_it_says_try_again_and_not_why(studio: Studio) -> None:
    away = dataclasses.replace(studio, db=Database("postgresql://nobody:secret@127.0.0.1:1/none"))
    async with browser(away) as http:
        for path, headers in (
            ("/v1/videos", {"authorization": "Bearer sk-zt-x"}),
            ("/v1/videos", {"cookie": "zoetrope_session=x"}),
        ):
            answer = await http.get(path, headers=headers)
            assert answer.status_code == 503
            assert (answer.headers["x-should-retry"], answer.headers["retry-after"]) == ("true", "2")
            assert "secret" not in answer.text
        assert (await http.get("/healthz")).status_code == 200
        assert (await http.get("/readyz")).json()["checks"]["database"].startswith("away")


async def test_every_answer_carries_security_headers_and_its_id(http: httpx.AsyncClient) -> None:
    for path in ("/healthz", "/v1/nothing", "/v1/videos"):
        headers = (await http.get(path)).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["x-request-id"].startswith("req_")


async def test_an_address_that_floods_is_slowed_down(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backend.api.limits.AN_ADDRESS", "5/minute")
    async with browser(studio, "203.0.113.8") as http:
        answers = await asyncio.gather(*(http.get("/v1/videos") for _ in range(8)))
        assert sorted(a.status_code for a in answers) == [401] * 5 + [429] * 3
        slow = next(a for a in answers if a.status_code == 429)
        assert int(slow.headers["retry-after"]) > 0
        assert slow.headers["x-should-retry"] == "true"
    async with browser(studio, "203.0.113.10") as elsewhere:
        assert (await elsewhere.get("/v1/videos")).status_code == 401


async def test_a_proxy_that_nobody_named_is_remembered_for_the_doctor(
    studio: Studio, valkey_url: str
) -> None:
    trusting = studio.settings.model_copy(update={"trusted_proxies": (ipaddress.ip_network("10.0.0.0/8"),)})
    forwarded = {"x-forwarded-for": "203.0.113.99"}
    async with browser(dataclasses.replace(studio, settings=trusting), "10.0.0.7") as http:
        await http.post("/auth/sign-out", headers=forwarded)
    async with browser(studio, "10.0.0.7") as http:
        await http.post("/auth/sign-out")
        assert remembered_proxy(valkey_url) is None
        await http.post("/auth/sign-out", headers=forwarded)
    assert remembered_proxy(valkey_url) == "10.0.0.7"
    settings = studio.settings.model_copy(update={"redis_url": valkey_url})
    proxy = doctor._proxy(settings)
    assert "10.0.0.7" in proxy.found
    assert "ZOETROPE_TRUSTED_PROXIES" in proxy.remedy


async def test_a_stranger_who_makes_the_header_up_is_not_written_down(
    studio: Studio, valkey_url: str
) -> None:
    async with browser(studio, "9.9.9.9") as http:
        await http.post("/auth/sign-out", headers={"x-forwarded-for": "203.0.113.99"})
    assert remembered_proxy(valkey_url) == "a public address"


async def test_another_sites_name_for_us_is_answered_by_nothing(http: httpx.AsyncClient) -> None:
    for path in ("/metrics", "/healthz", "/v1/videos", "/gallery"):
        answer = await http.get(path, headers={"host": "evil.example"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "unknown_host")
        assert answer.headers["x-content-type-options"] == "nosniff"


async def test_a_suspended_person_is_out_at_once(studio: Studio, http: httpx.AsyncClient) -> None:
    who = await person(studio)
    await http.post("/auth/sign-in", json=who)
    async with studio.db.transaction() as session:
        await session.execute(
            text("UPDATE users SET suspended_at = now() WHERE email = :e"), {"e": who["email"]}
        )
    assert (await http.get("/v1/videos")).status_code == 401
