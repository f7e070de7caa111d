"""Credits as rows: grants, holds with what they drew, and the double entry that proves both."""

from sqlalchemy import BigInteger, CheckConstraint, Column, Identity, Index, Text
from sqlalchemy import text as sql
from sqlmodel import Field, SQLModel

from backend.db.models import columns as c
from backend.db.models.columns import Moment


class Grant(SQLModel, table=True):
    """Credits given to an account. The fields are those of `domain.credits.GrantState`.

    `remaining` can pass `amount`: a debt that a later purchase paid off, and that was forgiven after that.
    """

    __tablename__ = "grants"
    __table_args__ = (
        CheckConstraint("amount > 0", name="grants_amount_positive"),
        CheckConstraint("remaining >= 0", name="grants_remaining_bounded"),
        CheckConstraint("expired >= 0", name="grants_expired_bounded"),
        CheckConstraint("reversed >= 0 AND reversed <= amount", name="grants_reversed_bounded"),
        CheckConstraint("owed >= 0 AND owed <= reversed", name="grants_owed_bounded"),
        Index("grants_of_account", "account_id", "id"),
        Index("grants_owing", "account_id", postgresql_where=sql("owed > 0")),
        Index("grants_usable", "account_id", "expires_at", "id", postgresql_where=sql("remaining > 0")),
        Index(
            "grants_expiring", "expires_at", postgresql_where=sql("remaining > 0 AND expires_at IS NOT NULL")
        ),
    )

    id: str = c.id_column()
    account_id: str = c.reference("accounts.id", index=False)
    source: str = c.text()
    amount: int
    remaining: int
    expired: int = c.number()
    reversed: int = c.number()
    owed: int = c.number()
    reason: str = c.text(default="")
    created_by: str | None = c.optional_reference("users.id")
    external_ref: str | None = c.optional_text(unique=True)
    created_at: Moment = c.created_at()
    expires_at: Moment | None = c.optional_moment()
    extended: bool = Field(default=False, nullable=False, sa_column_kwargs={"server_default": "false"})


class Hold(SQLModel, table=True):
    """Credits set aside for one job, until it is settled or released: exactly once."""

    __tablename__ = "holds"
    __table_args__ = (
        CheckConstraint("charged >= 0 AND charged <= amount", name="holds_charge_bounded"),
        CheckConstraint("(state = 'open') = (ended_at IS NULL)", name="holds_end_once"),
        Index("holds_open", "account_id", postgresql_where=sql("state = 'open'")),
        Index("holds_of_account", "account_id", "id"),
    )

    id: str = c.id_column()
    account_id: str = c.reference("accounts.id", index=False)
    job_id: str = Field(foreign_key="jobs.id", sa_type=Text, unique=True)
    amount: int
    state: str = c.text(default="open")
    charged: int = c.number()
    created_at: Moment = c.created_at()
    ended_at: Moment | None = c.optional_moment()


class HoldDraw(SQLModel, table=True):
    """What a hold took from one grant, in order of expiry."""

    __tablename__ = "hold_draws"

    hold_id: str = Field(primary_key=True, foreign_key="holds.id", sa_type=Text)
    position: int = Field(primary_key=True)
    grant_id: str = c.reference("grants.id")
    amount: int


class LedgerEntry(SQLModel, table=True):
    """One line of a transaction; lines of one `transaction_id` sum to 0. Never updated, never deleted.

    Written under the lock of the account's row: within an account `id` follows the order of commits, and the lines
    of one transaction have no other's between them.
    """

    __tablename__ = "ledger_entries"
    __table_args__ = (Index("ledger_entries_of_account", "account_id", sql("id DESC")),)

    id: int | None = Field(default=None, sa_column=Column(BigInteger, Identity(), primary_key=True))
    transaction_id: str = c.text(index=True)
    account_id: str = c.reference("accounts.id", index=False)
    book: str = c.text()
    amount: int
    grant_id: str = c.reference("grants.id")
    hold_id: str | None = c.optional_reference("holds.id", index=True)
    reason: str = c.text(default="")
    created_at: Moment = c.created_at()


class LedgerCheck(SQLModel, table=True):
    """One proof that ledger and jobs agree, or the disagreements that it named."""

    __tablename__ = "ledger_checks"

    id: int | None = Field(default=None, sa_column=Column(BigInteger, Identity(), primary_key=True))
    started_at: Moment = c.moment()
    ended_at: Moment = c.moment()
    disagreements: int
    report: dict[str, object] = c.data()
