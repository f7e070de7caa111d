"""Bring credits up to now: what ended is written off, and each month's are given, once an account and month.

For one account when it is read or submits, so that nobody waits for the round; for all accounts in small batches.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ARRAY, Row, Text, bindparam, select, text
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.db.models import Account
from backend.db.repositories import ledger
from backend.db.repositories.tiers import load_tiers
from backend.domain.credits import GrantSource, month_begins, month_of
from backend.domain.monthly import Claim, Origin, Withheld, decide
from backend.studio import Studio

BATCH = 500

# Columns and not objects: at a month's beginning millions are read.
_Facts = Row[tuple[str, str, str, datetime | None, str | None, str]]
_FACTS = select(
    col(Account.id),
    col(Account.tier),
    col(Account.origin),
    col(Account.vouched_at),
    col(Account.network),
    col(Account.credited_month),
)
_GIVEN = text(
    """
    SELECT account_id, sum(amount) FROM grants
    WHERE account_id = ANY(:ids) AND source = 'monthly'
      AND starts_with(external_ref, 'monthly:' || account_id || ':' || :month)
    GROUP BY account_id
    """
).bindparams(bindparam("ids", type_=ARRAY(Text)))
_SHARES = text(
    "SELECT network, account_id FROM network_shares WHERE month = :month AND network = ANY(:networks)"
).bindparams(bindparam("networks", type_=ARRAY(Text)))
_SHARE = text(
    "INSERT INTO network_shares (network, month, account_id)"
    " SELECT n, :month, a FROM unnest(:networks, :accounts) AS s(n, a) ON CONFLICT DO NOTHING"
).bindparams(bindparam("networks", type_=ARRAY(Text)), bindparam("accounts", type_=ARRAY(Text)))
_SETTLE = text(
    "UPDATE accounts a SET credited_month = :month, withheld = s.withheld"
    " FROM unnest(:ids, :withheld) AS s(id, withheld) WHERE a.id = s.id"
).bindparams(bindparam("ids", type_=ARRAY(Text)), bindparam("withheld", type_=ARRAY(Text)))
# Always in the order of the locks, so that two who settle networks at once never wait for each other.
_LOCK_NETWORKS = text(
    "SELECT pg_advisory_xact_lock(72407404, h) FROM"
    " (SELECT DISTINCT hashtext(n) AS h FROM unnest(:networks) AS n ORDER BY 1) AS sorted"
).bindparams(bindparam("networks", type_=ARRAY(Text)))


@dataclass(frozen=True, kw_only=True)
class _Claimant:
    account_id: str
    claim: Claim


async def renew_credits(studio: Studio, account_id: str) -> None:
    """Bring one account up to now. Does nothing where nothing is due."""
    async with studio.db.transaction() as session:
        await renew_in(session, account_id)


async def renew_in(session: AsyncSession, account_id: str, *, anew: bool = False) -> None:
    """The same in the caller's transaction. `anew`: look again at a month that was given or withheld before."""
    now = await ledger.lock_account(session, account_id)
    await ledger.expire_grants(session, account_id=account_id)
    account = (await session.execute(_FACTS.where(col(Account.id) == account_id))).one_or_none()
    if account is not None and (anew or account.credited_month < month_of(now)):
        await _settle(session, [account], now)


async def vouch(session: AsyncSession, account_id: str) -> None:
    """Somebody stands for this account from now on: what was withheld for want of that is given."""
    await session.execute(
        text("UPDATE accounts SET vouched_at = now() WHERE id = :id AND vouched_at IS NULL"),
        {"id": account_id},
    )
    await renew_in(session, account_id, anew=True)


async def renew_month(studio: Studio, *, limit: int = BATCH) -> int:
    """Settle the month for up to `limit` accounts that are due; returns how many were looked at.

    Safe to run at any time, by several at once.
    """
    async with studio.db.transaction() as session:
        now = await ledger.now_of(session)
        due = (
            await session.execute(
                _FACTS.where(col(Account.credited_month) < month_of(now))
                .order_by(col(Account.credited_month), col(Account.id))
                .limit(limit)
                .with_for_update(key_share=True, skip_locked=True)
            )
        ).all()
        await _settle(session, due, now)
    return len(due)


async def _settle(session: AsyncSession, accounts: Sequence[_Facts], now: datetime) -> None:
    """Give or withhold this month's credits of accounts that are locked."""
    if not accounts:
        return
    month = month_of(now)
    claimants = await _claimants(session, accounts, month)
    taken = await _taken(session, claimants, month)
    withheld: dict[str, Withheld | None] = {}
    shares: list[tuple[str, str]] = []
    for claimant in claimants:
        network = claimant.claim.network or ""
        others = taken.get(network, frozenset()) - {claimant.account_id}
        verdict = decide(claimant.claim, taken=len(others))
        withheld[claimant.account_id] = verdict
        if verdict is None and claimant.claim.limited and claimant.claim.due and network:
            taken[network] = others | {claimant.account_id}
            shares.append((network, claimant.account_id))
    await ledger.add_grants(
        session,
        [
            _grant(claimant, month, now)
            for claimant in claimants
            if claimant.claim.due and withheld[claimant.account_id] is None
        ],
    )
    if shares:
        networks, account_ids = zip(*shares, strict=True)
        await session.execute(
            _SHARE, {"month": month, "networks": list(networks), "accounts": list(account_ids)}
        )
    await session.execute(
        _SETTLE, {"month": month, "ids": list(withheld), "withheld": [w or "" for w in withheld.values()]}
    )


async def _claimants(session: AsyncSession, accounts: Sequence[_Facts], month: str) -> list[_Claimant]:
    tiers = await load_tiers(session)
    given = dict((await session.execute(_GIVEN, {"ids": [a.id for a in accounts], "month": month})).all())
    return [
        _Claimant(
            account_id=account.id,
            claim=Claim(
                tier=tiers[account.tier],
                origin=Origin(account.origin),
                vouched=account.vouched_at is not None,
                network=account.network,
                given=given.get(account.id, 0),
            ),
        )
        for account in accounts
    ]


async def _taken(
    session: AsyncSession, claimants: Sequence[_Claimant], month: str
) -> dict[str, frozenset[str]]:
    """Accounts that got this month's credits, by network; nobody else counts in these networks until we commit."""
    networks = sorted({c.claim.network for c in claimants if c.claim.limited and c.claim.network})
    found: dict[str, set[str]] = {}
    if networks:
        await session.execute(_LOCK_NETWORKS, {"networks": networks})
        for network, account_id in await session.execute(_SHARES, {"month": month, "networks": networks}):
            found.setdefault(network, set()).add(account_id)
    return {network: frozenset(ids) for network, ids in found.items()}


def _grant(claimant: _Claimant, month: str, now: datetime) -> ledger.NewGrant:
    claim = claimant.claim
    reference = f"monthly:{claimant.account_id}:{month}"
    return ledger.NewGrant(
        account_id=claimant.account_id,
        source=GrantSource.MONTHLY,
        amount=claim.due,
        expires_at=month_begins(now, months=1 + claim.tier.rollover_months),
        reason=f"for {month}",
        external_ref=f"{reference}:{claim.tier.name}" if claim.given else reference,
    )
