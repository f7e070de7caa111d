"""What the payment provider told us, as far as it is needed to take each event once and in its order."""

from sqlalchemy import BigInteger, Index
from sqlmodel import Field, SQLModel

from backend.db.models import columns as c
from backend.db.models.columns import Moment


class BillingEventRow(SQLModel, table=True):
    """An event that was taken. Its id is the provider's, with the provider before it."""

    __tablename__ = "billing_events"
    __table_args__ = (Index("billing_events_age", "received_at"),)

    id: str = c.id_column()
    kind: str = c.text()
    occurred_at: Moment = c.moment()
    received_at: Moment = c.created_at()


class BillingCustomer(SQLModel, table=True):
    """Whose account a customer of the provider is."""

    __tablename__ = "billing_customers"

    id: str = c.id_column()
    account_id: str = c.reference("accounts.id")


class BillingPayment(SQLModel, table=True):
    """One payment: what it bought, and how much of its money has gone back. A refund may be heard of first.

    `refunded` is what the newest telling of refunds said, in all, at `refunded_at`. `disputes`: by the dispute's id its
    amount, whether the money is withdrawn, and when that was said; and by `failed:` and the refund's id the amount of
    each refund that failed, and when.
    """

    __tablename__ = "billing_payments"

    id: str = c.id_column()
    account_id: str | None = c.optional_reference("accounts.id", index=True)
    grant_id: str | None = c.optional_reference("grants.id")
    paid: int = Field(default=0, sa_type=BigInteger, nullable=False, sa_column_kwargs={"server_default": "0"})
    currency: str = c.text(default="")
    refunded: int = Field(
        default=0, sa_type=BigInteger, nullable=False, sa_column_kwargs={"server_default": "0"}
    )
    refunded_at: Moment | None = c.optional_moment()
    disputes: dict[str, object] = c.data()


class BillingSubscription(SQLModel, table=True):
    """A subscription as the newest event left it. `facts` and `previous` order events of one second."""

    __tablename__ = "billing_subscriptions"

    id: str = c.id_column()
    customer: str = c.text(index=True)
    live: bool
    ended: bool
    first: bool
    facts: dict[str, object] = c.data()
    previous: dict[str, object] = c.data()
    changed_at: Moment = c.moment()
