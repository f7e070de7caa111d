"""Where an account was last seen, as a keyed hash of the network: so that many accounts don't make many shares."""

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.auth.networks import KEPT_DAYS, SECRET_NAME, network_key
from backend.domain.monthly import Withheld
from backend.services.renew_credits import renew_in
from backend.studio import Studio

_NOTE = text(
    """
    UPDATE accounts a SET network = :network, network_seen_at = now()
    FROM accounts before
    WHERE before.id = a.id AND a.id = :id AND a.origin = 'self'
      AND (a.network IS DISTINCT FROM :network OR a.network_seen_at < now() - interval '1 day')
    RETURNING a.withheld, before.network IS DISTINCT FROM :network AS moved
    """
)
_FORGET_ACCOUNTS = text(
    "UPDATE accounts SET network = NULL WHERE id IN (SELECT id FROM accounts WHERE network IS NOT NULL"
    " AND network_seen_at < now() - make_interval(days => :days) LIMIT :limit FOR NO KEY UPDATE SKIP LOCKED)"
)
_FORGET_SHARES = text(
    "DELETE FROM network_shares WHERE ctid IN (SELECT ctid FROM network_shares"
    " WHERE created_at < now() - make_interval(days => :days) LIMIT :limit)"
)


def network_of(studio: Studio, address: str) -> str | None:
    """The hash of an address' network; None where no address is known."""
    return network_key(address, studio.settings.secret(SECRET_NAME)) if address else None


async def note_network(studio: Studio, session: AsyncSession, account_id: str, address: str) -> None:
    """Note where somebody signed in from, and give what was withheld for the network's sake if it may be given now.

    Only for accounts that people made themselves: nothing asks for the network of others.
    """
    network = network_of(studio, address)
    if network is None:
        return
    noted = (await session.execute(_NOTE, {"id": account_id, "network": network})).one_or_none()
    if (
        noted is not None
        and noted.moved
        and noted.withheld in {Withheld.NETWORK_FULL, Withheld.NETWORK_UNKNOWN}
    ):
        await renew_in(session, account_id, anew=True)


async def forget_networks(session: AsyncSession, *, limit: int = 5_000) -> None:
    """Drop hashes that nobody signed in by for `KEPT_DAYS`."""
    for statement in (_FORGET_ACCOUNTS, _FORGET_SHARES):
        await session.execute(statement, {"days": KEPT_DAYS, "limit": limit})
