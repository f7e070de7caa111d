"""What an account has to spend, from which grants, what it gets next, and where more comes from."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlencode

from sqlmodel import col, select

from backend.auth.principal import Principal
from backend.db.models import Account, Grant
from backend.db.repositories import ledger
from backend.db.repositories.tiers import load_tiers
from backend.domain.credits import GrantSource, month_begins
from backend.domain.monthly import Withheld, words
from backend.services.renew_credits import renew_credits
from backend.studio import Studio

MAX_GRANTS = 50


@dataclass(frozen=True, kw_only=True)
class GrantView:
    """What is left of one grant. `extended`: its own end has passed, and something came back."""

    source: GrantSource
    remaining: int
    amount: int
    expires_at: datetime | None
    extended: bool


@dataclass(frozen=True, kw_only=True)
class OfferView:
    """Something that can be bought, and where."""

    title: str
    price: str
    url: str


@dataclass(frozen=True, kw_only=True)
class CreditsView:
    """Credits now. `next_amount` come on `next_at`; `withheld` says why this month's did not, in words.

    `grants` are those that can be spent, in the order in which they will be. `ask`: whom to ask for more.
    """

    available: int
    held: int
    owed: int
    grants: tuple[GrantView, ...]
    next_at: datetime
    next_amount: int
    withheld: str
    ask: str
    offers: tuple[OfferView, ...]
    portal_url: str
    now: datetime

    def shortfall(self, price: int) -> tuple[str, timedelta | None]:
        """Why a clip of this price can't be made, what would help, and when it will work by itself if it will."""
        parts = [f"This clip costs {price} credits and the account has {self.available}."]
        if self.held:
            parts.append(f"{self.held} more are held for jobs on their way.")
        if self.withheld:
            parts.append(self.withheld)
        comes = self.next_amount > 0 and not self.withheld
        if comes:
            parts.append(f"{self.next_amount:,} come on {self.next_at:%-d %B}.")
        enough = comes and self.next_amount + self._kept() >= price
        return " ".join(parts), self.next_at - self.now if enough else None

    def _kept(self) -> int:
        """What is available now and still will be when the month begins."""
        return sum(g.remaining for g in self.grants if g.expires_at is None or g.expires_at > self.next_at)


async def get_credits(studio: Studio, principal: Principal) -> CreditsView:
    """The credits of the asker's account, with this month's."""
    async with studio.db.reading() as session:
        due = (await ledger.standing(session, principal.account_id)).due
    if due:
        await renew_credits(studio, principal.account_id)
    async with studio.db.reading() as session:
        account = await session.get_one(Account, principal.account_id)
        tier = (await load_tiers(session))[account.tier]
        found = await ledger.standing(session, principal.account_id)
        now = await ledger.now_of(session)
        grants = (
            await session.exec(
                select(Grant)
                .where(
                    Grant.account_id == principal.account_id,
                    Grant.remaining > 0,
                    col(Grant.expires_at).is_(None) | (col(Grant.expires_at) > now),
                )
                .order_by(col(Grant.expires_at).nulls_last(), col(Grant.id))
                .limit(MAX_GRANTS)
            )
        ).all()
    catalogue = studio.billing.offers()
    query = urlencode({"client_reference_id": principal.account_id, "prefilled_email": principal.email})
    return CreditsView(
        available=found.available,
        held=found.held,
        owed=found.owed,
        grants=tuple(
            GrantView(
                source=GrantSource(grant.source),
                remaining=grant.remaining,
                amount=grant.amount,
                expires_at=grant.expires_at,
                extended=grant.extended,
            )
            for grant in grants
        ),
        next_at=month_begins(now, months=1),
        next_amount=tier.monthly_grant,
        withheld=words(
            Withheld(account.withheld),
            mail=studio.mailer.enabled,
            per_network=tier.grants_per_network,
        )
        if account.withheld
        else "",
        ask=studio.settings.billing_contact,
        offers=tuple(
            OfferView(
                title=offer.title,
                price=offer.price,
                url=f"{offer.buy_url}{'&' if '?' in offer.buy_url else '?'}{query}",
            )
            for offer in catalogue.offers
            if offer.buy_url
        ),
        portal_url=catalogue.portal_url,
        now=now,
    )
