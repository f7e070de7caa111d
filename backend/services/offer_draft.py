"""A draft: the same clip in fewer steps, for less. Offered when the wait is long, and made by consent alone."""

from dataclasses import dataclass, replace

from backend.auth.principal import Principal
from backend.domain.tiers import Tier
from backend.services.generation_request import GenerationRequest, ResolvedRequest, resolve
from backend.services.queue_places import ask_wait
from backend.studio import Studio

LONG_WAIT_S = 120.0
"""Seconds beyond the clip's own work from which a wait is long."""


CLEARLY_SOONER = 0.75
"""Of the wait for the full clip: a draft that is ready within this part of it is worth its fewer steps."""

CLEARLY_CHEAPER = 0.5
"""Of the full clip's price, likewise."""


@dataclass(frozen=True, kw_only=True)
class DraftOffer:
    """What a draft would be. Seconds until it is there, p50 and p90."""

    request: ResolvedRequest
    p50_s: float
    p90_s: float


async def offer_draft(
    studio: Studio,
    principal: Principal,
    request: GenerationRequest,
    tier: Tier,
    wait: tuple[float, float] | None,
) -> DraftOffer | None:
    """A draft of this request, if its `wait` (p50, p90 in seconds) is long. Else None.

    It is clearly sooner or clearly cheaper, and never dearer: a little sooner is no reason for fewer steps.
    """
    full = resolve(request, tier)
    steps = full.recipe.draft_steps
    if steps is None or steps >= full.num_inference_steps:
        return None
    if wait is None or wait[0] < full.gpu_s + LONG_WAIT_S:
        return None
    draft = resolve(replace(request, num_inference_steps=steps, seed=full.seed), tier)
    sooner = await ask_wait(studio, principal, draft)
    if sooner is None or draft.quoted > full.quoted:
        return None
    if sooner[0] > CLEARLY_SOONER * wait[0] and draft.quoted > CLEARLY_CHEAPER * full.quoted:
        return None
    return DraftOffer(request=draft, p50_s=min(sooner[0], wait[0]), p90_s=min(sooner[1], wait[1]))
