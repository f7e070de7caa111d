"""Every table, so that migrations and metadata see them all."""

from backend.db.models.accounts import (
    Account,
    ApiKey,
    Membership,
    NetworkShare,
    OneTimeToken,
    SignInSession,
    User,
)
from backend.db.models.artifacts import Artifact, Upload
from backend.db.models.billing import BillingCustomer, BillingEventRow, BillingPayment, BillingSubscription
from backend.db.models.fleet import LeaderTerm, Worker
from backend.db.models.jobs import Attempt, Feedback, IdempotencyKey, Job
from backend.db.models.ledger import Grant, Hold, HoldDraw, LedgerCheck, LedgerEntry
from backend.db.models.moderation import AuditEntry, ReviewCase, Verdict
from backend.db.models.outbox import OutboxRow
from backend.db.models.tiers import TierRow

__all__ = [
    "Account",
    "ApiKey",
    "Artifact",
    "Attempt",
    "AuditEntry",
    "BillingCustomer",
    "BillingEventRow",
    "BillingPayment",
    "BillingSubscription",
    "Feedback",
    "Grant",
    "Hold",
    "HoldDraw",
    "IdempotencyKey",
    "Job",
    "LeaderTerm",
    "LedgerCheck",
    "LedgerEntry",
    "Membership",
    "NetworkShare",
    "OneTimeToken",
    "OutboxRow",
    "ReviewCase",
    "SignInSession",
    "TierRow",
    "Upload",
    "User",
    "Verdict",
    "Worker",
]
