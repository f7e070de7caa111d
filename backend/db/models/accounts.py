"""People, the accounts that own everything, and the ways in: sessions, keys, one-time links."""

from sqlalchemy import ARRAY, DateTime, Index, Text
from sqlalchemy import text as sql
from sqlmodel import Field, SQLModel

from backend.db.models import columns as c
from backend.db.models.columns import Moment


class User(SQLModel, table=True):
    """A person. `session_epoch` grows to end every session at once."""

    __tablename__ = "users"
    __table_args__ = (Index("users_email_key", sql("lower(email)"), unique=True),)

    id: str = c.id_column()
    email: str = c.text()
    name: str = c.text(default="")
    password_hash: str | None = c.optional_text()
    role: str = c.text(default="creator")
    email_confirmed_at: Moment | None = c.optional_moment()
    suspended_at: Moment | None = c.optional_moment()
    session_epoch: int = c.number()
    created_at: Moment = c.created_at()


class Account(SQLModel, table=True):
    """A person's or a team's account: owns jobs, credits, keys, and its place in the queue.

    Its row's lock orders all that is written to its ledger. `credited_month` ("2026-05") is the last month whose
    credits were given, or withheld for the reason in `withheld`; a new account counts as done for its month, so
    whoever makes one gives them. `origin`: self, invitation, operator; `vouched_at`: since when somebody (the
    letter's answer, an invitation, the operator, a payment) stands for it. `network` is a keyed hash, kept for a
    while. An operator's choice of tier is `tier_pinned`: payments don't change it.
    """

    __tablename__ = "accounts"
    __table_args__ = (
        Index("accounts_month", "credited_month", "id"),
        Index("accounts_network_age", "network_seen_at", postgresql_where=sql("network IS NOT NULL")),
    )

    id: str = c.id_column()
    kind: str = c.text(default="person")
    name: str = c.text(default="")
    tier: str = c.reference("tiers.name")
    tier_pinned: bool = Field(default=False, nullable=False, sa_column_kwargs={"server_default": "false"})
    origin: str = c.text(default="self")
    vouched_at: Moment | None = c.optional_moment()
    credited_month: str = Field(
        default=None,
        sa_type=Text,
        nullable=False,
        sa_column_kwargs={"server_default": sql("to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM')")},
    )
    withheld: str = c.text(default="")
    network: str | None = c.optional_text()
    network_seen_at: Moment | None = c.optional_moment()
    created_at: Moment = c.created_at()


class NetworkShare(SQLModel, table=True):
    """An account that got a month's credits in a tier that limits them by network. `network` is a keyed hash."""

    __tablename__ = "network_shares"

    network: str = Field(primary_key=True, sa_type=Text)
    month: str = Field(primary_key=True, sa_type=Text)
    account_id: str = Field(primary_key=True, foreign_key="accounts.id", sa_type=Text)
    created_at: Moment = Field(
        default=None,
        sa_type=DateTime(timezone=True),
        nullable=False,
        index=True,
        sa_column_kwargs={"server_default": sql("now()")},
    )


class Membership(SQLModel, table=True):
    """Who belongs to an account, and as what: owner, admin or member."""

    __tablename__ = "memberships"

    account_id: str = Field(primary_key=True, foreign_key="accounts.id", sa_type=Text)
    user_id: str = Field(primary_key=True, foreign_key="users.id", sa_type=Text, index=True)
    role: str = c.text(default="owner")
    created_at: Moment = c.created_at()


class SignInSession(SQLModel, table=True):
    """One signed-in browser. Only the hash of its cookie is kept."""

    __tablename__ = "sessions"

    token_hash: str = c.id_column()
    user_id: str = c.reference("users.id")
    account_id: str = c.reference("accounts.id")
    epoch: int = c.number()
    user_agent: str = c.text(default="")
    created_at: Moment = c.created_at()
    expires_at: Moment = c.moment()
    revoked_at: Moment | None = c.optional_moment()


class OneTimeToken(SQLModel, table=True):
    """A link that works once: sign_in, confirm_email, reset_password, invitation. Only its hash is kept."""

    __tablename__ = "one_time_tokens"

    token_hash: str = c.id_column()
    purpose: str = c.text()
    user_id: str | None = c.optional_reference("users.id", index=True)
    email: str | None = c.optional_text()
    payload: dict[str, object] = c.data()
    created_at: Moment = c.created_at()
    expires_at: Moment = c.moment()
    used_at: Moment | None = c.optional_moment()


class ApiKey(SQLModel, table=True):
    """A program's key. Shown once; only its hash and a hint are kept."""

    __tablename__ = "api_keys"

    id: str = c.id_column()
    account_id: str = c.reference("accounts.id")
    user_id: str = c.reference("users.id")
    name: str = c.text(default="")
    key_hash: str = Field(sa_type=Text, unique=True)
    hint: str = c.text()
    scopes: list[str] = Field(default_factory=list, sa_type=ARRAY(Text), nullable=False)
    created_at: Moment = c.created_at()
    expires_at: Moment | None = c.optional_moment()
    revoked_at: Moment | None = c.optional_moment()
    last_used_at: Moment | None = c.optional_moment()
