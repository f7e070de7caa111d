"""What a payment provider tells us, in our words, and which of two tellings is the newer one. Pure.

Events come twice, late and out of order. Amounts of money are in the smallest unit of their currency.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

Facts = Mapping[str, str | list[str]]


@dataclass(frozen=True, kw_only=True)
class Bought:
    """So many of one product, by the provider's key for it."""

    key: str
    quantity: int = 1


@dataclass(frozen=True, kw_only=True)
class CustomerKnown:
    """A customer of the provider's is this account."""

    customer: str
    account_id: str


@dataclass(frozen=True, kw_only=True)
class Purchase:
    """Something was bought and paid for, once."""

    payment: str
    account_id: str | None
    customer: str | None
    products: tuple[Bought, ...]
    paid: int
    currency: str


@dataclass(frozen=True, kw_only=True)
class Refund:
    """`returned` of a payment has gone back by now, in all; refunds that failed before are not in it."""

    payment: str
    returned: int


@dataclass(frozen=True, kw_only=True)
class RefundFailed:
    """A refund did not arrive: its `amount` stays with us after all. A refund fails once."""

    payment: str
    refund: str
    amount: int


@dataclass(frozen=True, kw_only=True)
class Dispute:
    """A payment is disputed. `withdrawn`: its money is not with us now. `rank` orders events of one second."""

    payment: str
    dispute: str
    amount: int
    withdrawn: bool
    rank: int


@dataclass(frozen=True, kw_only=True)
class SubscriptionChange:
    """A subscription as it is after an event. `live`: it gives its tier. `ended`: for good.

    `facts` is what may change of it; `previous` those of them that this event changed, as they were before. `first`:
    this event began it.
    """

    subscription: str
    customer: str
    account_id: str | None
    live: bool
    ended: bool
    first: bool
    facts: Facts
    previous: Facts = field(default_factory=dict)

    @property
    def products(self) -> tuple[str, ...]:
        """Keys of what is subscribed to."""
        found = self.facts.get("products", [])
        return tuple(found) if isinstance(found, list) else ()


Happening = CustomerKnown | Purchase | Refund | RefundFailed | Dispute | SubscriptionChange


@dataclass(frozen=True, kw_only=True)
class BillingEvent:
    """One event: its id is the provider's, and unique. `at` has whole seconds."""

    id: str
    kind: str
    at: datetime
    happening: Happening


@dataclass(frozen=True, kw_only=True)
class KnownSubscription:
    """What the last event that counted said of a subscription."""

    at: datetime
    first: bool
    ended: bool
    facts: Facts
    previous: Facts


def money_refunded(returned: int, said_at: int, failed: Iterable[tuple[int, int]]) -> int:
    """What of a payment has gone back, by the newest telling of it and all refunds that failed.

    `said_at` and the first of each of `failed` are seconds since 1970, the second one is its amount. A telling knows
    of the failures before it. A failure in its own second came after it: what fails was told first.
    """
    return max(0, returned - sum(amount for at, amount in failed if at >= said_at))


def supersedes(change: SubscriptionChange, at: datetime, known: KnownSubscription) -> bool:
    """Whether an event is newer than what is known.

    An ended subscription stays ended. Within one second the event that began it is the older one; of two changes the
    older one is that from whose state the other says that it came.
    """
    if known.ended or change.ended:
        return not known.ended
    if at != known.at:
        return at > known.at
    if change.first != known.first:
        return known.first
    follows = _came_from(change.previous, known.facts)
    precedes = _came_from(known.previous, change.facts)
    return follows or not precedes


def _came_from(previous: Facts, facts: Facts) -> bool:
    return bool(previous) and all(facts.get(name) == value for name, value in previous.items())
