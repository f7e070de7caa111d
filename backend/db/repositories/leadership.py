"""The leader's term: a row with a lease. What a leader writes is conditional on it."""

from datetime import timedelta

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

TERM_LEASE = timedelta(seconds=4)
"""A leader that did not renew for this long is replaced."""

HOLD_MS = 3_000
"""How long a transaction that checks the term may stand still, run one statement, or wait for a lock. Together with
what is left of the lease, this bounds a takeover."""

_HOLDS = text(
    """
    SELECT set_config('idle_in_transaction_session_timeout', :ms, true),
           set_config('statement_timeout', :ms, true), set_config('lock_timeout', :ms, true)
    FROM leader_terms
    WHERE name = :name AND holder = :holder AND term = :term AND expires_at > clock_timestamp()
    FOR SHARE
    """
)


async def claim(session: AsyncSession, *, name: str, holder: str) -> int | None:
    """Renew our term, or take over one that ended. Returns the term, or None while another leads."""
    row = (
        await session.execute(
            text(
                """
                INSERT INTO leader_terms AS t (name, term, holder, expires_at)
                VALUES (:name, 1, :holder, clock_timestamp() + make_interval(secs => :lease_s))
                ON CONFLICT (name) DO UPDATE SET
                    term = CASE WHEN t.holder = :holder AND t.expires_at > clock_timestamp()
                                THEN t.term ELSE t.term + 1 END,
                    holder = :holder,
                    expires_at = clock_timestamp() + make_interval(secs => :lease_s)
                WHERE t.holder = :holder OR t.expires_at <= clock_timestamp()
                RETURNING t.term
                """
            ),
            {"name": name, "holder": holder, "lease_s": TERM_LEASE.total_seconds()},
        )
    ).one_or_none()
    return None if row is None else int(row[0])


async def holds_term(session: AsyncSession, *, name: str, holder: str, term: int) -> bool:
    """Whether this term is still ours, locked against a takeover until the transaction ends.

    The rest of the transaction runs under short time-outs: a leader that is stopped in the middle of one would hold
    its standby off until the server lets go of it.
    """
    row = (
        await session.execute(_HOLDS, {"name": name, "holder": holder, "term": term, "ms": f"{HOLD_MS}ms"})
    ).one_or_none()
    return row is not None


async def resign(session: AsyncSession, *, name: str, holder: str) -> None:
    """End our term now, so that a standby need not wait for it."""
    await session.execute(
        text(
            "UPDATE leader_terms SET expires_at = clock_timestamp() WHERE name = :name AND holder = :holder"
        ),
        {"name": name, "holder": holder},
    )
