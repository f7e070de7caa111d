"""`POST /billing/webhooks/stripe`: what the payment provider tells us, believed for its signature alone."""

from fastapi import APIRouter, Depends, Request

from backend.api.dependencies import StudioDep
from backend.api.limits import coarse_limit
from backend.domain.errors import NotFound, TooLarge
from backend.services.accept_billing_event import accept_billing_event

router = APIRouter(prefix="/billing", dependencies=[Depends(coarse_limit)], include_in_schema=False)

MAX_EVENT_BYTES = 2**20


@router.post("/webhooks/{provider}")
async def post_event(provider: str, request: Request, studio: StudioDep) -> dict[str, bool]:
    """Take an event. 2xx: done, or done before; anything else has the provider send it again."""
    if not studio.billing.enabled or provider != studio.billing.provider:
        raise NotFound("No events of that payment provider are taken here.")
    payload = bytearray()
    async for chunk in request.stream():
        payload += chunk
        if len(payload) > MAX_EVENT_BYTES:
            raise TooLarge(f"An event has {MAX_EVENT_BYTES} bytes at most.")
    await accept_billing_event(studio, bytes(payload), request.headers)
    return {"received": True}
