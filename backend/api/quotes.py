"""`POST /v1/videos/quote`: price and wait of a create request, before it is sent. Ours, beside the client's routes."""

from typing import Literal

from fastapi import APIRouter, Depends, Request

from backend.api.create_fields import CREATE_DOCS, CREATE_FIELDS, request_of
from backend.api.dependencies import StudioDep, Writer
from backend.api.input_reference import check_reference
from backend.api.limits import coarse_limit
from backend.api.parse_bodies import parse_body
from backend.api.schemas import EtaOut, Out
from backend.services.quote_generation import quote_generation

router = APIRouter(prefix="/v1/videos", tags=["videos"], dependencies=[Depends(coarse_limit)])


class DraftOut(Out):
    """The same clip in fewer steps. `draft: "if_busy"` in a create request consents to it."""

    num_inference_steps: int
    credits: int
    eta: EtaOut


class QuoteOut(Out):
    """`credits` is the most that is charged. `eta` is null while nobody knows; `draft`, unless the wait is long."""

    object: Literal["video.quote"] = "video.quote"
    model: str
    seconds: str
    size: str
    num_inference_steps: int
    credits: int
    available: int
    affordable: bool
    eta: EtaOut | None
    draft: DraftOut | None


@router.post("/quote", openapi_extra=CREATE_DOCS)
async def quote_video(request: Request, studio: StudioDep, principal: Writer) -> QuoteOut:
    """What a create request with these fields would cost, and how long it would take. Stores nothing."""
    fields = await parse_body(request)
    try:
        fields.refuse_unknown(CREATE_FIELDS)
        wanted = request_of(fields, await check_reference(studio, principal, fields))
    finally:
        await fields.close()
    quote = await quote_generation(studio, principal, wanted)
    resolved, draft = quote.request, quote.draft
    return QuoteOut(
        model=resolved.recipe.name,
        seconds=resolved.seconds,
        size=resolved.spec().size,
        num_inference_steps=resolved.num_inference_steps,
        credits=quote.credits,
        available=quote.available,
        affordable=quote.credits <= quote.available,
        eta=_eta(quote.p50_s, quote.p90_s),
        draft=None
        if draft is None
        else DraftOut(
            num_inference_steps=draft.request.num_inference_steps,
            credits=draft.request.quoted,
            eta=EtaOut(p50_seconds=draft.p50_s, p90_seconds=draft.p90_s),
        ),
    )


def _eta(p50_s: float | None, p90_s: float | None) -> EtaOut | None:
    return None if p50_s is None or p90_s is None else EtaOut(p50_seconds=p50_s, p90_seconds=p90_s)
