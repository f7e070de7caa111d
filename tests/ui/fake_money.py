"""Money for the pages in memory: grants, receipts, offers, and the four refusals of a submission."""

from datetime import UTC, datetime, timedelta

from frontend.gateway import Refused
from frontend.money_views import CreditsView, GrantView, OfferView, ReceiptPage, ReceiptView
from frontend.views import AccountView, Draft, QuoteView

NOW = datetime.now(UTC)
REFUSALS = {
    "too dear": (
        "This clip costs 12 credits and the account has 3. 6 more are held for jobs on their way."
        " 200 come on 1 December.",
        "insufficient_credits",
        timedelta(days=9),
    ),
    "too many today": (
        "Today's 50 jobs of the free tier are used. The next day begins at midnight UTC.",
        "quota_exhausted",
        timedelta(hours=5),
    ),
    "too many waiting": (
        "10 jobs of this account are waiting or running, as many as the free tier allows. Wait for one to end,"
        " or cancel one. The next one is expected in 40 s.",
        "queue_limit_reached",
        timedelta(seconds=40),
    ),
    "too fast": (
        "That is faster than the free tier allows: 20 submissions a minute. The next one is taken in 3 s.",
        "rate_limit_exceeded",
        timedelta(seconds=3),
    ),
}


def refuse(draft: Draft) -> None:
    """Prompts that name a refusal get it."""
    if draft.prompt in REFUSALS:
        message, code, wait = REFUSALS[draft.prompt]
        raise Refused(message, code=code, again_at=(datetime.now(UTC) + wait).isoformat())


def dear_quote(draft: Draft) -> QuoteView | None:
    """A price that can't be paid, for who asks for 400 steps."""
    if draft.steps != "400":
        return None
    message, _code, wait = REFUSALS["too dear"]
    return QuoteView(
        known=True,
        credits=50,
        wait="about 70 s",
        affordable=False,
        note=f"{message.replace('12', '50')} Fewer steps cost less.",
        again_at=(NOW + wait).isoformat(),
    )


def receipt_of(clip_id: str, prompt: str, *, at: datetime) -> ReceiptView:
    return ReceiptView(
        id=f"hold_{clip_id}",
        what=prompt,
        href=f"/clips/{clip_id}",
        at=at.isoformat(),
        quoted="2",
        held="2",
        charged="2",
        refunded="0",
        short="Delivered",
        why="The clip was delivered, at the price that was quoted.",
        drawn="Paid with 2 monthly credits.",
    )


class FakeMoney:
    """The gateway's two questions about money."""

    calls: list[str]

    async def credits(self, who: AccountView) -> CreditsView:
        self.calls.append("credits")
        next_at = (NOW + timedelta(days=9)).isoformat()
        if who.id == "acc_3":
            return CreditsView(
                next_amount="200",
                next_at=next_at,
                withheld="This month's free credits were not given: 5 accounts of your network had theirs,"
                " and no more get them.",
                ask="whoever runs this studio",
            )
        return CreditsView(
            grants=[
                GrantView(
                    what="Monthly credits",
                    left="14",
                    of="200",
                    ends_at=(NOW + timedelta(hours=20)).isoformat(),
                    note="Came back after its end",
                ),
                GrantView(what="Monthly credits", left="120", of="200", ends_at=next_at),
                GrantView(
                    what="Bought", left="348", of="1,000", ends_at=(NOW + timedelta(days=331)).isoformat()
                ),
            ],
            next_amount="200",
            next_at=next_at,
            owed="30" if who.id == "acc_2" else "",
            ask="credits@studio.example",
            ask_url="mailto:credits@studio.example",
            offers=[
                OfferView(title="1,000 credits", price="9 €", url="https://pay.example/thousand"),
                OfferView(title="Plus: 2,000 a month", price="12 € a month", url="https://pay.example/plus"),
            ],
            portal_url="https://pay.example/portal",
        )

    async def receipts(self, who: AccountView, *, cursor: str = "") -> ReceiptPage:
        self.calls.append("receipts")
        if who.id == "acc_3":
            return ReceiptPage(receipts=[])
        ago = NOW - timedelta(minutes=2)
        rows = [
            ReceiptView(
                id="hold_1",
                what="a red circle moving right on a blue background",
                href="/clips/video_0000",
                at=ago.isoformat(),
                quoted="6",
                held="6",
                short="On its way",
                why="Set aside until the clip is there. Nothing is charged before.",
                open=True,
            ),
            receipt_of(
                "video_0001", "a yellow star growing on a green background", at=ago - timedelta(hours=1)
            ),
            ReceiptView(
                id="hold_3",
                what="an orange star moving down, slowly, over a very wide white background, seen from far away",
                href="/clips/video_0002",
                at=(ago - timedelta(hours=3)).isoformat(),
                quoted="12",
                held="12",
                charged="4",
                refunded="8",
                short="Cancelled after 8 of 24 steps: 8/24 of 12, rounded down.",
                why="Cancelled after 8 of 24 steps: 8/24 of 12, rounded down.",
            ),
            ReceiptView(
                id="hold_4",
                what="a green star",
                at=(ago - timedelta(days=2)).isoformat(),
                quoted="1,200",
                held="1,200",
                charged="0",
                refunded="1,200",
                short="Could not be made",
                why="It could not be made. Nothing is charged.",
            ),
        ]
        return ReceiptPage(receipts=rows, cursor="" if cursor else "more")
