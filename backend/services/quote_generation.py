"""What a clip would cost and how long it would take, before anything is sent."""

from dataclasses import dataclass
from datetime import timedelta

from backend.auth.principal import Principal
from backend.db.repositories import ledger
from backend.db.repositories.tiers import load_tiers
from backend.services.generation_request import GenerationRequest, ResolvedRequest, resolve
from backend.services.get_credits import get_credits
from backend.services.offer_draft import DraftOffer, offer_draft
from backend.services.offered_models import of_an_offered_model
from backend.services.queue_places import ask_wait
from backend.studio import Studio


@dataclass(frozen=True, kw_only=True)
class Quote:
    """Price and wait. Times are seconds until the clip is there; None while nobody knows.

    `shortfall` says why the account can't pay it now, and what helps; `works_in` when that is known. `draft` is offered
    when the wait is long.
    """

    credits: int
    available: int
    shortfall: str
    works_in: timedelta | None
    p50_s: float | None
    p90_s: float | None
    request: ResolvedRequest
    draft: DraftOffer | None = None


async def quote_generation(studio: Studio, principal: Principal, request: GenerationRequest) -> Quote:
    """Price and expected wait of this request. Raises `InvalidField`."""
    async with studio.db.reading() as session:
        tiers = await load_tiers(session)
        available, _held = await ledger.balance(session, principal.account_id)
    request = await of_an_offered_model(studio, request)
    resolved = resolve(request, tiers[principal.tier])
    shortfall, works_in = "", None
    if resolved.quoted > available:
        found = await get_credits(studio, principal)
        available = found.available
        if resolved.quoted > available:
            shortfall, works_in = found.shortfall(resolved.quoted)
    wait = await ask_wait(studio, principal, resolved)
    return Quote(
        credits=resolved.quoted,
        available=available,
        shortfall=shortfall,
        works_in=works_in,
        p50_s=wait[0] if wait else None,
        p90_s=wait[1] if wait else None,
        request=resolved,
        draft=await offer_draft(studio, principal, request, tiers[principal.tier], wait),
    )
