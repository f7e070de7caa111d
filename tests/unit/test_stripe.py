"""Stripe's signatures and objects, against a signer that shares no code with ours."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from backend.billing import BadSignature, Catalogue, NoBilling, StripeBilling, open_billing
from backend.billing.stripe import verify
from backend.domain.billing import (
    CustomerKnown,
    Dispute,
    KnownSubscription,
    Purchase,
    Refund,
    RefundFailed,
    SubscriptionChange,
    supersedes,
)
from backend.domain.errors import InvalidField, NotFound
from backend.operator_errors import BadSettingError
from backend.settings import Settings
from tests.integration.stripe_signer import (
    SECRET,
    charge,
    checkout,
    dispute,
    event,
    failed_refund,
    hmac_sha256,
    signature,
    subscription,
)

NOW = datetime(2026, 5, 1, tzinfo=UTC)
AT = NOW.timestamp()
BODY = b'{"id": "evt_1"}'


def test_what_was_signed_with_our_secret_is_believed() -> None:
    verify(BODY, signature(BODY, at=AT), [SECRET], now=NOW)


@pytest.mark.parametrize("seconds", [-300, 300])
def test_five_minutes_of_skew_are_allowed(seconds: int) -> None:
    verify(BODY, signature(BODY, at=AT + seconds), [SECRET], now=NOW)


@pytest.mark.parametrize("seconds", [-301, 301])
def test_an_event_of_another_time_is_refused_though_it_is_signed(seconds: int) -> None:
    with pytest.raises(BadSignature, match="five minutes"):
        verify(BODY, signature(BODY, at=AT + seconds), [SECRET], now=NOW)


def test_one_good_signature_of_several_is_enough_while_a_secret_is_replaced() -> None:
    good = signature(BODY, at=AT)
    other = signature(BODY, secret="whsec_other", at=AT).partition(",")[2]
    verify(BODY, f"{good},{other}", [SECRET], now=NOW)
    verify(BODY, f"{good.replace(',', f',{other},')}", [SECRET], now=NOW)
    verify(BODY, good, ["whsec_other", SECRET], now=NOW)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "t=1",
        "v1=00",
        f"t={int(AT)},v1=",
        f"t={int(AT)},v1=é",
        f"t={int(AT)},v1={'0' * 64}",
        f"t=now,v1={'0' * 64}",
        f"t={'9' * 400},v1={'0' * 64}",
        f"t={int(AT)},t={int(AT)},v1={hmac_sha256(SECRET.encode(), f'{int(AT)}.'.encode() + BODY)}",
        # Only the scheme that is meant: an older or weaker one is not taken instead.
        f"t={int(AT)},v0={hmac_sha256(SECRET.encode(), f'{int(AT)}.'.encode() + BODY)}",
    ],
)
def test_a_header_that_proves_nothing_is_refused(header: str) -> None:
    with pytest.raises(BadSignature):
        verify(BODY, header, [SECRET], now=NOW)


def test_a_signature_is_of_these_bytes_at_this_time_by_this_secret() -> None:
    good = signature(BODY, at=AT)
    for body, header, secret in (
        (BODY + b" ", good, SECRET),
        (BODY, good.replace(f"t={int(AT)}", f"t={int(AT) + 1}"), SECRET),
        (BODY, good, SECRET + "x"),
        (BODY, signature(BODY, secret="", at=AT), SECRET),
    ):
        with pytest.raises(BadSignature):
            verify(body, header, [secret], now=NOW)
    with pytest.raises(BadSignature):
        verify(BODY, good, [], now=NOW)


@pytest.fixture
def stripe(tmp_path: Path) -> StripeBilling:
    path = tmp_path / "catalogue.toml"
    path.write_text('[[offers]]\nkey = "plink_thousand"\ntitle = "1,000 credits"\ncredits = 1000\n')
    return StripeBilling([SECRET], Catalogue(path))


def told(stripe: StripeBilling, kind: str, item: dict[str, Any], **more: Any) -> object:
    body = event(kind, item, **more)
    read = stripe.read(body, {"stripe-signature": signature(body, at=AT)}, now=NOW)
    return None if read is None else read.happening


def test_a_paid_checkout_is_a_purchase(stripe: StripeBilling) -> None:
    bought = told(stripe, "checkout.session.completed", checkout("acct_1"))
    assert isinstance(bought, Purchase)
    assert (bought.account_id, bought.paid, bought.currency) == ("acct_1", 900, "eur")
    assert [(p.key, p.quantity) for p in bought.products] == [("plink_thousand", 1)]


def test_an_unpaid_checkout_buys_nothing_until_the_money_is_there(stripe: StripeBilling) -> None:
    waiting = checkout("acct_1", payment_status="unpaid", customer="cus_1")
    assert told(stripe, "checkout.session.completed", waiting) == CustomerKnown(
        customer="cus_1", account_id="acct_1"
    )
    assert isinstance(told(stripe, "checkout.session.async_payment_succeeded", checkout("acct_1")), Purchase)


@pytest.mark.parametrize(
    ("fields", "products"),
    [
        ({"line_items": {"data": [{"price": {"id": "price_1"}, "quantity": 3}]}}, [("price_1", 3)]),
        ({"metadata": {"product": "price_2", "quantity": "2"}}, [("price_2", 2)]),
        ({"metadata": {"product": "price_2", "quantity": "-2"}}, [("price_2", 1)]),
        ({"payment_link": None}, []),
    ],
)
def test_what_was_bought_is_read_where_stripe_says_it(
    stripe: StripeBilling, fields: dict[str, Any], products: list[tuple[str, int]]
) -> None:
    bought = told(stripe, "checkout.session.completed", checkout("acct_1", **fields))
    assert isinstance(bought, Purchase)
    assert [(p.key, p.quantity) for p in bought.products] == products


def test_money_that_goes_back_is_told_as_a_sum_and_a_dispute_by_where_the_money_is(
    stripe: StripeBilling,
) -> None:
    session = checkout("acct_1")
    payment = session["payment_intent"]
    assert told(stripe, "charge.refunded", charge(session, 300)) == Refund(payment=payment, returned=300)
    refund = failed_refund(session, "re_1", 300)
    failed = RefundFailed(payment=payment, refund=refund["id"], amount=300)
    assert told(stripe, "refund.failed", refund) == failed
    withdrawn = {}
    for kind, status in (
        ("charge.dispute.created", "needs_response"),
        ("charge.dispute.created", "warning_needs_response"),
        ("charge.dispute.closed", "won"),
        ("charge.dispute.closed", "lost"),
        ("charge.dispute.funds_reinstated", "under_review"),
    ):
        said = told(stripe, kind, dispute(session, status))
        assert isinstance(said, Dispute)
        withdrawn[kind.rpartition(".")[2], status] = said.withdrawn
    assert withdrawn == {
        ("created", "needs_response"): True,
        ("created", "warning_needs_response"): False,
        ("closed", "won"): False,
        ("closed", "lost"): True,
        ("funds_reinstated", "under_review"): False,
    }


@pytest.mark.parametrize(
    ("status", "kind", "live", "ended"),
    [
        ("active", "created", True, False),
        ("trialing", "created", True, False),
        ("past_due", "updated", True, False),
        ("unpaid", "updated", False, False),
        ("incomplete", "created", False, False),
        ("canceled", "updated", False, True),
        ("active", "deleted", False, True),
    ],
)
def test_a_subscription_lives_as_long_as_stripe_still_tries(
    stripe: StripeBilling, status: str, kind: str, live: bool, ended: bool
) -> None:
    said = told(stripe, f"customer.subscription.{kind}", subscription("price_plus", status=status))
    assert isinstance(said, SubscriptionChange)
    assert (said.live, said.ended, said.products) == (live, ended, ("price_plus",))


def test_both_ways_in_which_stripe_names_a_price_are_read(stripe: StripeBilling) -> None:
    newer = subscription("x", items={"data": [{"pricing": {"price_details": {"price": "price_plus"}}}]})
    said = told(stripe, "customer.subscription.created", newer)
    assert isinstance(said, SubscriptionChange)
    assert said.products == ("price_plus",)


def test_events_of_no_concern_are_nothing(stripe: StripeBilling) -> None:
    assert told(stripe, "invoice.created", {"id": "in_1"}) is None
    assert told(stripe, "checkout.session.expired", checkout("acct_1")) is None


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"null", b"{", b'{"type": "charge.refunded"}', b"\xff", b"[" * 50_000]
)
def test_a_signed_body_that_is_no_event_is_refused_as_such(stripe: StripeBilling, body: bytes) -> None:
    with pytest.raises(InvalidField):
        stripe.read(body, {"stripe-signature": signature(body, at=AT)}, now=NOW)


# ---- which of two is newer ----


def change(
    status: str, /, *, first: bool = False, ended: bool = False, **previous: str
) -> SubscriptionChange:
    return SubscriptionChange(
        subscription="sub_1",
        customer="cus_1",
        account_id=None,
        live=status == "active",
        ended=ended,
        first=first,
        facts={"status": status, "products": ["price_plus"]},
        previous=dict(previous),
    )


def known(change: SubscriptionChange, at: datetime = NOW) -> KnownSubscription:
    return KnownSubscription(
        at=at, first=change.first, ended=change.ended, facts=change.facts, previous=change.previous
    )


SECOND = timedelta(seconds=1)


def test_the_later_event_counts_and_an_older_one_changes_nothing() -> None:
    assert supersedes(change("active"), NOW + SECOND, known(change("unpaid")))
    assert not supersedes(change("active"), NOW - SECOND, known(change("unpaid")))


def test_an_ended_subscription_never_comes_back_and_its_end_counts_whenever_it_arrives() -> None:
    ended = change("canceled", ended=True)
    assert not supersedes(change("active"), NOW + SECOND, known(ended))
    assert supersedes(ended, NOW - SECOND, known(change("active")))
    assert not supersedes(ended, NOW, known(ended))


def test_within_a_second_the_beginning_is_the_older_event() -> None:
    begun = change("incomplete", first=True)
    paid = change("active", status="incomplete")
    assert supersedes(paid, NOW, known(begun))
    assert not supersedes(begun, NOW, known(paid))


def test_within_a_second_the_change_that_came_from_the_other_is_the_newer() -> None:
    one = change("past_due", status="active")
    two = change("unpaid", status="past_due")
    assert supersedes(two, NOW, known(one))
    assert not supersedes(one, NOW, known(two))


# ---- settings ----


def _settings(tmp_path: Path, **fields: object) -> Settings:
    return Settings(data_dir=tmp_path, **fields)  # type: ignore[arg-type]  # fields by name


def test_without_billing_nothing_is_taken(tmp_path: Path) -> None:
    billing = open_billing(_settings(tmp_path))
    assert isinstance(billing, NoBilling)
    assert (billing.enabled, billing.offers().offers) == (False, [])
    with pytest.raises(NotFound):
        billing.read(BODY, {}, now=NOW)


def test_half_a_setup_is_refused_at_the_start_and_says_what_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text("")
    with pytest.raises(BadSettingError, match="ZOETROPE_BILLING_CATALOGUE"):
        open_billing(_settings(tmp_path, billing_secret=SECRET))
    with pytest.raises(BadSettingError, match="ZOETROPE_BILLING_SECRET"):
        open_billing(_settings(tmp_path, billing_catalogue=path))
    assert open_billing(_settings(tmp_path, billing_secret=SECRET, billing_catalogue=path)).enabled


def test_a_secret_that_others_may_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text(SECRET + "\n")
    path.chmod(0o640)
    with pytest.raises(BadSettingError, match="chmod 600"):
        _settings(tmp_path, billing_secret_file=path).billing_secrets()
    path.chmod(0o600)
    assert _settings(tmp_path, billing_secret_file=path).billing_secrets() == (SECRET,)
    with pytest.raises(BadSettingError, match="BILLING_SECRET_FILE"):
        _settings(tmp_path, billing_secret_file=tmp_path / "none").billing_secrets()


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("offers = 3", "offers"),
        ('[[offers]]\nkey = "a"\ntitle = "A"', "either credits or a tier"),
        ('[[offers]]\nkey = "a"\ntitle = "A"\ncredits = 5\ntier = "plus"', "either credits or a tier"),
        ('[[offers]]\nkey = "a"\ntitle = "A"\ncredits = 0', "credits"),
        ('[[offers]]\nkey = "a"\ntitle = "A"\ntier = "plus"\nexpires_after_days = 3', "only credits expire"),
        ('[[offers]]\nkey = "a"\ntitle = "A"\ncredits = 5\nbuy_url = "javascript:alert(1)"', "https"),
        ('[[offers]]\nkey = "a"\ntitle = "A"\ncredits = 5\ncredit = 6', "credit"),
        (2 * '[[offers]]\nkey = "a"\ntitle = "A"\ncredits = 5\n', "same key"),
        ("[[", "can't be read"),
    ],
)
def test_a_catalogue_that_is_wrong_is_refused_by_name(tmp_path: Path, text: str, named: str) -> None:
    path = tmp_path / "c.toml"
    path.write_text(text)
    with pytest.raises(BadSettingError, match=named):
        Catalogue(path).current()


def test_a_catalogue_is_read_again_when_it_changes_and_a_spoilt_one_counts_as_before(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    path.write_text(json.dumps({"offers": [{"key": "a", "title": "A", "credits": 5}]}))
    catalogue = Catalogue(path)
    assert catalogue.current().offer("a") is not None
    path.write_text(json.dumps({"offers": [{"key": "bb", "title": "B", "credits": 5}]}))
    assert catalogue.current().offer("bb") is not None
    path.write_text("{ spoilt")
    assert catalogue.current().offer("bb") is not None
    path.unlink()
    assert catalogue.current().offer("bb") is not None
