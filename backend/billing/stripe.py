"""Stripe's webhooks: the signature, and its objects in our words. Nothing is asked of Stripe.

Signatures: https://docs.stripe.com/webhooks/signature. Amounts arrive in the currency's smallest unit. Fields that
differ between Stripe's API versions are read in both places.
"""

import hashlib
import hmac
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from backend.billing.catalogue import Catalogue, CatalogueData
from backend.billing.port import BadSignature
from backend.domain.billing import (
    BillingEvent,
    Bought,
    CustomerKnown,
    Dispute,
    Facts,
    Happening,
    Purchase,
    Refund,
    RefundFailed,
    SubscriptionChange,
)
from backend.domain.errors import InvalidField

SIGNATURE_HEADER = "stripe-signature"
TOLERANCE = timedelta(minutes=5)
MAX_SIGNATURES = 20

_Object = Mapping[str, Any]
_LIVE = frozenset({"active", "trialing", "past_due"})
_PAID = frozenset({"paid", "no_payment_required"})
_DISPUTE_RANKS = {
    "charge.dispute.created": 0,
    "charge.dispute.funds_withdrawn": 1,
    "charge.dispute.updated": 1,
    "charge.dispute.funds_reinstated": 2,
    "charge.dispute.closed": 3,
}


class StripeBilling:
    """Events that Stripe signed with one of our secrets."""

    provider = "stripe"
    enabled = True

    def __init__(self, secrets: Sequence[str], catalogue: Catalogue) -> None:
        self._secrets = tuple(secrets)
        self._catalogue = catalogue

    def offers(self) -> CatalogueData:
        """What the catalogue says now."""
        return self._catalogue.current()

    def read(self, payload: bytes, headers: Mapping[str, str], *, now: datetime) -> BillingEvent | None:
        """A signed event; None for a kind that means nothing here. Raises `BadSignature`, `InvalidField`."""
        verify(payload, headers.get(SIGNATURE_HEADER, ""), self._secrets, now=now)
        try:
            event = json.loads(payload)
            kind, item = str(event["type"]), event["data"]["object"]
            happening = _happening(kind, item, event["data"].get("previous_attributes") or {})
            if happening is None:
                return None
            at = datetime.fromtimestamp(int(event["created"]), UTC)
            return BillingEvent(id=str(event["id"]), kind=kind, at=at, happening=happening)
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            raise InvalidField(
                f"This is no event of Stripe's: {type(error).__name__}.", param="body"
            ) from error


def verify(payload: bytes, header: str, secrets: Sequence[str], *, now: datetime) -> None:
    """Check `t=…,v1=…[,v1=…]`: any of our secrets, any of its signatures, made within five minutes of now.

    Other schemes than v1 are not looked at. Raises `BadSignature`.
    """
    pairs = [part.strip().partition("=") for part in header.split(",")[: MAX_SIGNATURES + 1]]
    times = [value for name, _, value in pairs if name == "t"]
    signatures = [value.encode() for name, _, value in pairs if name == "v1"]
    if len(times) != 1 or not times[0].isdecimal() or len(times[0]) > 12 or not signatures:
        raise BadSignature("The Stripe-Signature header is missing or has no time and v1 signature.")
    good = False
    for secret in secrets:
        expected = (
            hmac.digest(secret.encode(), f"{times[0]}.".encode() + payload, hashlib.sha256).hex().encode()
        )
        for signature in signatures:
            # No early way out: how long it takes tells nothing about which one fits.
            good |= hmac.compare_digest(expected, signature)
    if not good:
        raise BadSignature
    if abs(now.timestamp() - int(times[0])) > TOLERANCE.total_seconds():
        raise BadSignature("The event was signed more than five minutes ago. Stripe sends it again.")


def _happening(kind: str, item: _Object, previous: _Object) -> Happening | None:
    if kind.startswith("customer.subscription."):
        return _subscription(kind, item, previous)
    if kind in _DISPUTE_RANKS:
        return _dispute(kind, item)
    reader = _READERS.get(kind)
    return reader(item) if reader else None


def _checkout(session: _Object) -> Happening | None:
    account_id = session.get("client_reference_id") or (session.get("metadata") or {}).get("account_id")
    customer = session.get("customer")
    if session.get("mode") != "payment" or session.get("payment_status") not in _PAID:
        # A subscription's own events say what it gives; this one says whose it is.
        return CustomerKnown(customer=customer, account_id=account_id) if customer and account_id else None
    return Purchase(
        payment=str(session.get("payment_intent") or session["id"]),
        account_id=account_id,
        customer=customer,
        products=tuple(_bought(session)),
        paid=int(session.get("amount_total") or 0),
        currency=str(session.get("currency") or ""),
    )


def _bought(session: _Object) -> Iterator[Bought]:
    """What a session sold. Stripe leaves its lines out of events, so the link or our own metadata name the product."""
    lines = (session.get("line_items") or {}).get("data") or []
    if lines:
        for line in lines:
            yield Bought(key=_price_of(line), quantity=int(line.get("quantity") or 1))
        return
    metadata = session.get("metadata") or {}
    key = metadata.get("product") or session.get("payment_link")
    if key:
        quantity = str(metadata.get("quantity") or "1")
        yield Bought(
            key=str(key), quantity=int(quantity) if quantity.isdecimal() and len(quantity) < 6 else 1
        )


def _refund(charge: _Object) -> Refund:
    return Refund(payment=_payment_of(charge, charge), returned=int(charge["amount_refunded"]))


def _failed_refund(refund: _Object) -> RefundFailed:
    return RefundFailed(
        payment=_payment_of(refund, {"id": refund.get("charge")}),
        refund=str(refund["id"]),
        amount=int(refund["amount"]),
    )


def _dispute(kind: str, dispute: _Object) -> Dispute:
    status = str(dispute.get("status") or "")
    back = kind == "charge.dispute.funds_reinstated" or status == "won" or status.startswith("warning_")
    return Dispute(
        payment=_payment_of(dispute, {"id": dispute.get("charge")}),
        dispute=str(dispute["id"]),
        amount=int(dispute["amount"]),
        withdrawn=not back,
        rank=_DISPUTE_RANKS[kind],
    )


def _subscription(kind: str, item: _Object, previous: _Object) -> SubscriptionChange:
    facts = _facts(item)
    ended = kind == "customer.subscription.deleted" or facts["status"] in {"canceled", "incomplete_expired"}
    return SubscriptionChange(
        subscription=str(item["id"]),
        customer=str(item["customer"]),
        account_id=(item.get("metadata") or {}).get("account_id"),
        live=not ended and facts["status"] in _LIVE and not item.get("pause_collection"),
        ended=ended,
        first=kind == "customer.subscription.created",
        facts=facts,
        previous={name: value for name, value in _facts(previous).items() if value},
    )


def _facts(item: _Object) -> Facts:
    lines = (item.get("items") or {}).get("data") or []
    return {"status": str(item.get("status") or ""), "products": sorted(_price_of(line) for line in lines)}


def _price_of(line: _Object) -> str:
    price = line.get("price")
    if isinstance(price, dict):
        return str(price["id"])
    if price is None:
        details = (line.get("pricing") or {}).get("price_details") or {}
        price = details.get("price") or (line.get("plan") or {}).get("id")
    return str(price or "")


def _payment_of(item: _Object, charge: _Object) -> str:
    """A payment by the id that a checkout names too; a charge without one by its own."""
    payment = item.get("payment_intent")
    if isinstance(payment, dict):
        payment = payment["id"]
    return str(payment or charge["id"])


_READERS: Mapping[str, Callable[[_Object], Happening | None]] = {
    "checkout.session.completed": _checkout,
    "checkout.session.async_payment_succeeded": _checkout,
    "charge.refunded": _refund,
    "refund.failed": _failed_refund,
}
