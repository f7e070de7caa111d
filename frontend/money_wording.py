"""How the studio says money: receipts, credits by grant, and what to do where there are too few. Pure."""

from datetime import datetime
from urllib.parse import quote as quote_url

from backend.domain.credits import GrantSource, HoldState
from backend.domain.receipt import Outcome
from backend.services.get_credits import CreditsView as Credits
from backend.services.get_receipt import ReceiptView as Receipt
from backend.services.quote_generation import Quote
from frontend.money_views import CreditsView, GrantView, OfferView, ReceiptView

NOBODY_NAMED = "whoever runs this studio"

_GRANTS = {
    GrantSource.MONTHLY: "Monthly credits",
    GrantSource.PURCHASE: "Bought",
    GrantSource.PROMOTION: "A gift",
    GrantSource.ADMIN: "Granted",
}
_DRAWN = {
    GrantSource.MONTHLY: "monthly",
    GrantSource.PURCHASE: "bought",
    GrantSource.PROMOTION: "given",
    GrantSource.ADMIN: "granted",
}


def shortfall(quote: Quote, *, now: datetime) -> tuple[str, str]:
    """What to say beside a price that can't be paid, and when it can (ISO 8601); two empty texts where it can."""
    if not quote.shortfall:
        return "", ""
    again_at = "" if quote.works_in is None else _iso(now + quote.works_in)
    return f"{quote.shortfall} Fewer steps cost less.", again_at


_SHORT = {
    Outcome.HELD: "On its way",
    Outcome.DELIVERED: "Delivered",
    Outcome.CANCELLED_UNSTARTED: "Cancelled before it began",
    Outcome.CANCELLED_WAITING: "Cancelled before a step counted",
    Outcome.CANCELLED_IN_REVIEW: "Cancelled in review",
    Outcome.FAILED: "Could not be made",
    Outcome.BLOCKED: "Stopped by the rules",
}


def receipt_view(receipt: Receipt) -> ReceiptView:
    """What a job cost, in figures and in words."""
    under_way = receipt.state is HoldState.OPEN
    return ReceiptView(
        id=receipt.hold_id,
        what=receipt.prompt,
        href="" if receipt.deleted else f"/clips/{receipt.job_id}",
        at=_iso(receipt.ended_at or receipt.held_at),
        quoted=f"{receipt.quoted:,}",
        held=f"{receipt.held:,}",
        charged="" if under_way else f"{receipt.charged:,}",
        refunded="" if under_way else f"{receipt.refunded:,}",
        short=_SHORT.get(receipt.outcome, receipt.why),
        why=receipt.why,
        drawn=_drawn(receipt),
        open=under_way,
    )


def _drawn(receipt: Receipt) -> str:
    """Which credits they were: "Paid with 3 monthly and 2 bought credits." """
    under_way = receipt.state is HoldState.OPEN
    counts: dict[GrantSource, int] = {}
    for part in receipt.drawn:
        counts[part.source] = counts.get(part.source, 0) + (part.held if under_way else part.charged)
    parts = [f"{count:,} {_DRAWN[source]}" for source, count in counts.items() if count]
    if not parts:
        return ""
    listed = parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
    credits = "credit" if sum(counts.values()) == 1 else "credits"
    return f"{'Held from' if under_way else 'Paid with'} {listed} {credits}."


def credits_view(found: Credits) -> CreditsView:
    """Credits by grant, what comes next, and whom to ask."""
    ask = found.ask or NOBODY_NAMED
    return CreditsView(
        grants=[
            GrantView(
                what=_GRANTS[grant.source],
                left=f"{grant.remaining:,}",
                of=f"{grant.amount:,}",
                ends_at=_iso(grant.expires_at),
                note="Came back after its end" if grant.extended else "",
            )
            for grant in found.grants
        ],
        next_amount=f"{found.next_amount:,}" if found.next_amount else "",
        next_at=_iso(found.next_at) if found.next_amount else "",
        owed=f"{found.owed:,}" if found.owed else "",
        withheld=found.withheld,
        ask=ask,
        ask_url=_address(ask),
        offers=[OfferView(title=o.title, price=o.price, url=o.url) for o in found.offers],
        portal_url=found.portal_url,
    )


def _address(ask: str) -> str:
    """Where a contact leads: a page, a letter, or nowhere."""
    if ask.startswith("https://"):
        return ask
    return f"mailto:{quote_url(ask, safe='@.+-_')}" if "@" in ask and " " not in ask else ""


def _iso(moment: datetime | None) -> str:
    return "" if moment is None else moment.isoformat()
