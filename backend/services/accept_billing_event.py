"""Take one signed event of the payment provider: a purchase, money that went back, a subscription. Exactly once.

Lock order: the customer, the payment or subscription, the account, its grants.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta

from sqlalchemy import text
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.billing.catalogue import CatalogueData, Offer
from backend.db.models import (
    Account,
    BillingCustomer,
    BillingEventRow,
    BillingPayment,
    BillingSubscription,
    Grant,
)
from backend.db.repositories import ledger
from backend.db.repositories.tiers import load_tiers
from backend.domain import credits
from backend.domain.billing import (
    BillingEvent,
    CustomerKnown,
    Dispute,
    KnownSubscription,
    Purchase,
    Refund,
    RefundFailed,
    SubscriptionChange,
    money_refunded,
    supersedes,
)
from backend.domain.credits import GrantSource
from backend.domain.errors import ZoetropeError
from backend.log import get_logger
from backend.services.change_tier import put_into_tier
from backend.studio import Studio

log = get_logger(__name__)

EVENTS_KEPT_DAYS = 180
"""An id older than this may be forgotten: providers repeat an event for days, and every rule here bears repeating."""

_FAILED = "failed:"
"""Before the ids of failed refunds, which stand beside those of disputes."""


class UnknownProduct(ZoetropeError):
    """Something was paid for that the catalogue doesn't name, or by nobody we know. Mend it; the event comes again."""

    code = "unknown_product"
    http_status = 422
    should_retry = True


async def accept_billing_event(studio: Studio, payload: bytes, headers: Mapping[str, str]) -> None:
    """Do what an event says, unless that was done. What is of no concern here is taken and forgotten.

    Raises `BadSignature`, `InvalidField`, `NotFound` (no payments here), and `UnknownProduct`: then nothing was stored,
    and the provider sends it again.
    """
    event = studio.billing.read(payload, headers, now=studio.clock.now())
    if event is None:
        return
    catalogue = studio.billing.offers()
    try:
        async with studio.db.transaction() as session:
            if not await _first_time(session, studio.billing.provider, event):
                return
            accounts = await _take(session, studio.billing.provider, event, catalogue)
    except UnknownProduct as error:
        log.error("billing.unknown_product", event_id=event.id, kind=event.kind, what=error.message)
        raise
    log.info("billing.taken", event_id=event.id, kind=event.kind, accounts=sorted(accounts))
    for account_id in accounts:
        await studio.wakeups.account_changed(account_id)


async def forget_old_events(session: AsyncSession, *, limit: int = 5_000) -> None:
    """Drop ids of events that nobody repeats any more."""
    await session.execute(
        text(
            "DELETE FROM billing_events WHERE id IN (SELECT id FROM billing_events"
            " WHERE received_at < now() - make_interval(days => :days) LIMIT :limit)"
        ),
        {"days": EVENTS_KEPT_DAYS, "limit": limit},
    )


async def _first_time(session: AsyncSession, provider: str, event: BillingEvent) -> bool:
    # The same event twice at once: the second waits here for the first's end.
    done = await session.execute(
        insert(BillingEventRow)
        .values(id=f"{provider}:{event.id}", kind=event.kind, occurred_at=event.at)
        .on_conflict_do_nothing(index_elements=["id"])
        .returning(col(BillingEventRow.id))
    )
    return done.one_or_none() is not None


async def _take(
    session: AsyncSession, provider: str, event: BillingEvent, catalogue: CatalogueData
) -> set[str]:
    """Gives the accounts that changed."""
    match event.happening:
        case CustomerKnown() as known:
            return await _know(session, known.customer, known.account_id, catalogue)
        case Purchase() as purchase:
            return await _purchase(session, provider, purchase, event.at, catalogue)
        case Refund(payment=payment, returned=returned):
            row = await _payment(session, provider, payment)
            if row.refunded_at is None or event.at > row.refunded_at:
                row.refunded, row.refunded_at = returned, event.at
            elif event.at == row.refunded_at:
                row.refunded = max(row.refunded, returned)
            return await _settle(session, row)
        case RefundFailed() as failed:
            row = await _payment(session, provider, failed.payment)
            _note_failed_refund(row, failed, event.at)
            return await _settle(session, row)
        case Dispute() as dispute:
            row = await _payment(session, provider, dispute.payment)
            _note_dispute(row, dispute, event.at)
            return await _settle(session, row)
        case SubscriptionChange() as change:
            return await _subscription(session, change, event.at, catalogue)


# ---- purchases, and money that went back ----


async def _purchase(
    session: AsyncSession, provider: str, purchase: Purchase, at: datetime, catalogue: CatalogueData
) -> set[str]:
    if purchase.customer:
        await _lock_customer(session, purchase.customer)
    account_id = await _account(session, purchase.account_id, purchase.customer)
    offers = [
        (offer, bought.quantity)
        for bought in purchase.products
        if (offer := _offer(catalogue, bought.key, wanted=account_id is not None)) is not None
    ]
    amount = sum((offer.credits or 0) * quantity for offer, quantity in offers)
    if not offers and (account_id is None or purchase.products):
        return set()  # of no concern here, or ignored on purpose
    if account_id is None or amount == 0:
        raise UnknownProduct(f"The payment {purchase.payment} names no account here, or buys no credits.")
    if purchase.customer:
        await _remember_customer(session, purchase.customer, account_id)
    row = await _payment(session, provider, purchase.payment)
    if row.grant_id is not None:
        return set()
    now = await ledger.lock_account(session, account_id)
    grant = await ledger.add_grant(
        session,
        account_id=account_id,
        source=GrantSource.PURCHASE,
        amount=amount,
        expires_at=_end([offer for offer, _ in offers], at, now),
        reason=", ".join(offer.title for offer, _ in offers),
        external_ref=row.id,
    )
    row.account_id, row.grant_id = account_id, grant.id
    row.paid, row.currency = purchase.paid, purchase.currency
    session.add(row)
    await session.flush()
    debts = (
        await session.exec(
            select(Grant).where(Grant.account_id == account_id, Grant.owed > 0).order_by(col(Grant.id))
        )
    ).all()
    if debts:
        paid_off = credits.repay(ledger.state_of(grant), [ledger.state_of(debt) for debt in debts])
        await ledger.apply(session, account_id, paid_off, reason="debt_paid")
    return {account_id} | await _settle(session, row)


def _end(offers: list[Offer], at: datetime, now: datetime) -> datetime | None:
    """When credits of a purchase end: with its longest-lived part, counted from the payment."""
    lives = [offer.expires_after_days for offer in offers if offer.credits]
    days = [life for life in lives if life is not None]
    if len(days) < len(lives):
        return None
    return max(at, now - timedelta(days=1)) + timedelta(days=max(days))


async def _payment(session: AsyncSession, provider: str, payment: str) -> BillingPayment:
    """The row of a payment, locked; made where need be."""
    row_id = f"{provider}:{payment}"
    await session.execute(
        insert(BillingPayment).values(id=row_id).on_conflict_do_nothing(index_elements=["id"])
    )
    return await session.get_one(BillingPayment, row_id, with_for_update=True, populate_existing=True)


def _note_dispute(row: BillingPayment, dispute: Dispute, at: datetime) -> None:
    known = row.disputes.get(dispute.dispute)
    when = [int(at.timestamp()), dispute.rank]
    if isinstance(known, dict) and known.get("when", [0, 0]) > when:
        return
    said = {"amount": dispute.amount, "withdrawn": dispute.withdrawn, "when": when}
    row.disputes = {**row.disputes, dispute.dispute: said}


def _note_failed_refund(row: BillingPayment, failed: RefundFailed, at: datetime) -> None:
    key, when = f"{_FAILED}{failed.refund}", int(at.timestamp())
    known = row.disputes.get(key)
    if isinstance(known, dict) and int(known["when"]) <= when:
        return
    row.disputes = {**row.disputes, key: {"amount": failed.amount, "when": when}}


def _refunded(row: BillingPayment) -> int:
    if row.refunded_at is None:
        return 0
    failed = [
        (int(said["when"]), int(said["amount"]))
        for key, said in row.disputes.items()
        if key.startswith(_FAILED) and isinstance(said, dict)
    ]
    return money_refunded(row.refunded, int(row.refunded_at.timestamp()), failed)


async def _settle(session: AsyncSession, row: BillingPayment) -> set[str]:
    """Bring what a payment gave in line with how much of its money is still with us."""
    session.add(row)
    await session.flush()
    if row.grant_id is None or row.account_id is None:
        return set()  # The purchase is still to be heard of; it looks here then.
    now = await ledger.lock_account(session, row.account_id)
    grant = ledger.state_of(await session.get_one(Grant, row.grant_id, populate_existing=True))
    withdrawn = sum(
        int(str(dispute["amount"]))
        for dispute in row.disputes.values()
        if isinstance(dispute, dict) and dispute.get("withdrawn")
    )
    wanted = credits.reversed_credits(grant.amount, paid=row.paid, returned=_refunded(row) + withdrawn)
    if wanted > grant.reversed:
        change = credits.reverse(grant, wanted - grant.reversed)
        await ledger.apply(session, row.account_id, change, reason="money_returned")
    elif wanted < grant.reversed:
        change = credits.restore(grant, grant.reversed - wanted, now=now)
        await ledger.apply(session, row.account_id, change, reason="money_kept")
    else:
        return set()
    return {row.account_id}


# ---- subscriptions ----


async def _subscription(
    session: AsyncSession, change: SubscriptionChange, at: datetime, catalogue: CatalogueData
) -> set[str]:
    await _lock_customer(session, change.customer)
    if change.account_id is not None and await _exists(session, change.account_id):
        await _remember_customer(session, change.customer, change.account_id)
    account_id = await _account(session, None, change.customer)
    if not change.ended:
        for key in change.products:
            _offer(catalogue, key, wanted=account_id is not None)
    row = await session.get(BillingSubscription, change.subscription, with_for_update=True)
    if row is not None and not supersedes(change, at, _known(row)):
        return set()
    await session.merge(
        BillingSubscription(
            id=change.subscription,
            customer=change.customer,
            live=change.live,
            ended=change.ended,
            first=change.first,
            facts=dict(change.facts),
            previous=dict(change.previous),
            changed_at=at,
        )
    )
    await session.flush()
    return set() if account_id is None else await _follow_subscriptions(session, account_id, catalogue)


def _known(row: BillingSubscription) -> KnownSubscription:
    return KnownSubscription(
        at=row.changed_at,
        first=row.first,
        ended=row.ended,
        facts=row.facts,  # type: ignore[arg-type]  # written as Facts, read as JSON
        previous=row.previous,  # type: ignore[arg-type]  # likewise
    )


async def _know(session: AsyncSession, customer: str, account_id: str, catalogue: CatalogueData) -> set[str]:
    await _lock_customer(session, customer)
    if not await _exists(session, account_id):
        return set()
    await _remember_customer(session, customer, account_id)
    return await _follow_subscriptions(session, account_id, catalogue)


async def _follow_subscriptions(session: AsyncSession, account_id: str, catalogue: CatalogueData) -> set[str]:
    """The best tier of an account's live subscriptions; without one, what it had before any."""
    await ledger.lock_account(session, account_id)
    account = await session.get_one(Account, account_id, populate_existing=True)
    rows = (
        await session.exec(
            select(BillingSubscription)
            .join(BillingCustomer, col(BillingCustomer.id) == col(BillingSubscription.customer))
            .where(BillingCustomer.account_id == account_id)
        )
    ).all()
    if not rows or account.tier_pinned:
        return set()
    tiers = await load_tiers(session)
    names = {
        offer.tier
        for row in rows
        if row.live
        for key in _products(row)
        if (offer := catalogue.offer(key)) is not None and offer.tier is not None
    }
    if unknown := names - tiers.keys():
        raise UnknownProduct(f"The catalogue names a tier that is not there: {sorted(unknown)[0]!r}.")
    given = [tiers[name] for name in names]
    best = max(given, key=lambda tier: (tier.weight, tier.monthly_grant, tier.name), default=None)
    wanted = best.name if best else catalogue.fallback_tier
    if wanted == account.tier:
        return set()
    await put_into_tier(session, account_id, wanted, pin=False, actor_id=None, cause="subscription")
    return {account_id}


def _products(row: BillingSubscription) -> list[str]:
    found = row.facts.get("products")
    return [str(key) for key in found] if isinstance(found, list) else []


# ---- whose, and what ----


def _offer(catalogue: CatalogueData, key: str, *, wanted: bool) -> Offer | None:
    """The offer behind a product. `wanted`: one of our accounts has paid, so not to know it is a fault."""
    offer = catalogue.offer(key)
    if offer is None and wanted and key not in catalogue.ignored:
        raise UnknownProduct(f"The catalogue says nothing of {key!r}.")
    return offer


async def _lock_customer(session: AsyncSession, customer: str) -> None:
    """What is said of one customer is taken one after the other: who it is, and what it subscribes to."""
    await session.execute(
        text("SELECT pg_advisory_xact_lock(72407405, hashtext(:customer))"), {"customer": customer}
    )


async def _remember_customer(session: AsyncSession, customer: str, account_id: str) -> None:
    await session.execute(
        insert(BillingCustomer)
        .values(id=customer, account_id=account_id)
        .on_conflict_do_nothing(index_elements=["id"])
    )


async def _account(session: AsyncSession, account_id: str | None, customer: str | None) -> str | None:
    if account_id is not None and await _exists(session, account_id):
        return account_id
    known = await session.get(BillingCustomer, customer, populate_existing=True) if customer else None
    return known.account_id if known else None


async def _exists(session: AsyncSession, account_id: str) -> bool:
    return await session.get(Account, account_id) is not None
