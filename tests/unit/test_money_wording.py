"""How the pages say money."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from backend.domain.credits import GrantSource, HoldState
from backend.domain.receipt import Outcome
from backend.services.get_credits import CreditsView, GrantView, OfferView
from backend.services.get_receipt import DrawnView, ReceiptView
from frontend.money_wording import credits_view, receipt_view

NOW = datetime(2026, 5, 20, tzinfo=UTC)
JUNE = datetime(2026, 6, 1, tzinfo=UTC)
CREDITS = CreditsView(
    available=3,
    held=6,
    owed=0,
    grants=(
        GrantView(source=GrantSource.PURCHASE, remaining=3, amount=1000, expires_at=None, extended=False),
    ),
    next_at=JUNE,
    next_amount=200,
    withheld="",
    ask="",
    offers=(OfferView(title="1,000 credits", price="9 €", url="https://pay.example/x?a=b"),),
    portal_url="",
    now=NOW,
)
RECEIPT = ReceiptView(
    hold_id="hold_1",
    job_id="video_1",
    prompt="a red circle",
    model="mini",
    size="256x256",
    num_frames=17,
    steps=24,
    state=HoldState.SETTLED,
    outcome=Outcome.CANCELLED_PARTWAY,
    why="Why.",
    quoted=12,
    held=12,
    charged=4,
    refunded=8,
    held_at=NOW,
    ended_at=JUNE,
    deleted=False,
    drawn=(
        DrawnView(grant_id="a", source=GrantSource.MONTHLY, expires_at=JUNE, held=3, charged=3),
        DrawnView(grant_id="b", source=GrantSource.PURCHASE, expires_at=None, held=9, charged=1),
    ),
)


def test_a_shortfall_says_what_is_missing_what_is_held_and_what_comes() -> None:
    said, works_in = CREDITS.shortfall(12)
    assert said == (
        "This clip costs 12 credits and the account has 3. 6 more are held for jobs on their way."
        " 200 come on 1 June."
    )
    assert works_in == JUNE - NOW


def test_no_time_is_named_when_the_next_month_is_not_enough_or_not_given() -> None:
    assert CREDITS.shortfall(204) == (CREDITS.shortfall(204)[0], None)
    assert CREDITS.shortfall(203)[1] == JUNE - NOW
    withheld = replace(CREDITS, withheld="Because.")
    said, works_in = withheld.shortfall(12)
    assert said.endswith("Because.")
    assert works_in is None
    ending = replace(
        CREDITS, grants=(replace(CREDITS.grants[0], expires_at=NOW + timedelta(days=1)),), next_amount=10
    )
    # What is there now will have ended when the month begins.
    assert ending.shortfall(12)[1] is None


def test_a_receipt_says_which_credits_paid() -> None:
    shown = receipt_view(RECEIPT)
    assert (shown.quoted, shown.charged, shown.refunded, shown.href) == ("12", "4", "8", "/clips/video_1")
    assert shown.short == "Why.", "how a part of the price was reached is said in full"
    assert receipt_view(replace(RECEIPT, outcome=Outcome.DELIVERED)).short == "Delivered"
    assert shown.drawn == "Paid with 3 monthly and 1 bought credits."
    still = receipt_view(replace(RECEIPT, state=HoldState.OPEN, charged=0, refunded=0, ended_at=None))
    assert still.open
    assert still.drawn == "Held from 3 monthly and 9 bought credits."
    assert receipt_view(replace(RECEIPT, deleted=True)).href == ""
    assert receipt_view(replace(RECEIPT, drawn=(replace(RECEIPT.drawn[0], charged=0),))).drawn == ""


@pytest.mark.parametrize(
    ("contact", "asked", "url"),
    [
        ("", "whoever runs this studio", ""),
        ("ada@studio.example", "ada@studio.example", "mailto:ada@studio.example"),
        (
            "a@b.example?bcc=c@d.example",
            "a@b.example?bcc=c@d.example",
            "mailto:a@b.example%3Fbcc%3Dc@d.example",
        ),
        ("https://studio.example/help", "https://studio.example/help", "https://studio.example/help"),
        ("javascript:alert(1)", "javascript:alert(1)", ""),
        ("the lab on floor 3", "the lab on floor 3", ""),
    ],
)
def test_a_contact_is_a_link_only_where_it_is_a_page_or_an_address(
    contact: str, asked: str, url: str
) -> None:
    shown = credits_view(replace(CREDITS, ask=contact))
    assert (shown.ask, shown.ask_url) == (asked, url)
