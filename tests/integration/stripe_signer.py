"""Stripe's side, written from its documentation and without our code: events, and the header that signs them."""

import hashlib
import itertools
import json
import time
from collections.abc import Mapping
from typing import Any

SECRET = "whsec_c2lnbmVkIGJ5IHN0cmlwZQ"
_ids = itertools.count(1)


def hmac_sha256(key: bytes, message: bytes) -> str:
    """RFC 2104, by hand."""
    key = (key if len(key) <= 64 else hashlib.sha256(key).digest()).ljust(64, b"\0")
    inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in key) + message).digest()
    return hashlib.sha256(bytes(byte ^ 0x5C for byte in key) + inner).hexdigest()


def signature(payload: bytes, *, secret: str = SECRET, at: float | None = None) -> str:
    """A `Stripe-Signature` header."""
    moment = int(time.time() if at is None else at)
    return f"t={moment},v1={hmac_sha256(secret.encode(), f'{moment}.'.encode() + payload)}"


def event(
    kind: str, item: Mapping[str, Any], *, created: int = 1_760_000_000, id: str = "", **previous: Any
) -> bytes:
    """An event's body; `previous` is its `previous_attributes`."""
    data: dict[str, Any] = {"object": dict(item)}
    if previous:
        data["previous_attributes"] = previous
    body = {
        "id": id or f"evt_{next(_ids)}",
        "object": "event",
        "api_version": "2025-03-31.basil",
        "created": created,
        "type": kind,
        "livemode": False,
        "data": data,
    }
    return json.dumps(body).encode()


def checkout(account_id: str | None, **fields: Any) -> dict[str, Any]:
    """A checkout session that was paid, of a payment link."""
    number = next(_ids)
    return {
        "id": f"cs_{number}",
        "object": "checkout.session",
        "mode": "payment",
        "payment_status": "paid",
        "payment_intent": f"pi_{number}",
        "payment_link": "plink_thousand",
        "client_reference_id": account_id,
        "customer": None,
        "amount_total": 900,
        "currency": "eur",
        "metadata": {},
        **fields,
    }


def charge(session: Mapping[str, Any], refunded: int) -> dict[str, Any]:
    """The charge behind a session, with so much of it refunded in all."""
    return {
        "id": f"ch_{session['id']}",
        "object": "charge",
        "payment_intent": session["payment_intent"],
        "amount": session["amount_total"],
        "amount_refunded": refunded,
    }


def failed_refund(session: Mapping[str, Any], name: str, amount: int) -> dict[str, Any]:
    """One refund of what a session paid, which did not arrive."""
    return {
        "id": f"{name}_{session['id']}",
        "object": "refund",
        "amount": amount,
        "payment_intent": session["payment_intent"],
        "status": "failed",
    }


def dispute(session: Mapping[str, Any], status: str = "needs_response") -> dict[str, Any]:
    """A dispute of all that a session paid."""
    return {
        "id": f"dp_{session['id']}",
        "object": "dispute",
        "payment_intent": session["payment_intent"],
        "charge": f"ch_{session['id']}",
        "amount": session["amount_total"],
        "status": status,
    }


def subscription(price: str, *, status: str = "active", **fields: Any) -> dict[str, Any]:
    """A subscription to one price."""
    return {
        "id": "sub_1",
        "object": "subscription",
        "customer": "cus_1",
        "status": status,
        "items": {"object": "list", "data": [{"price": {"id": price}, "quantity": 1}]},
        "metadata": {},
        **fields,
    }
