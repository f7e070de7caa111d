"""`GET /v1/videos/{id}/receipt`: what a job was quoted, held and charged, and why. Ours, beside the client's routes."""

from datetime import datetime
from typing import Literal

from fastapi import APIRouter, Depends

from backend.api.dependencies import Reader, StudioDep
from backend.api.limits import coarse_limit
from backend.api.schemas import Out
from backend.api.videos import VideoId
from backend.services.get_receipt import ReceiptView, get_receipt

router = APIRouter(prefix="/v1/videos", tags=["videos"], dependencies=[Depends(coarse_limit)])


class DrawnOut(Out):
    """Part of a hold, taken from one grant."""

    grant_id: str
    source: str
    expires_at: int | None
    held: int
    charged: int


class PricedOut(Out):
    """What the price was made of; nothing else counts."""

    model: str
    size: str
    num_frames: int
    num_inference_steps: int


class ReceiptOut(Out):
    """Credits of one job. `state`: open while it is under way, then settled (charged) or released (nothing charged)."""

    object: Literal["video.receipt"] = "video.receipt"
    video_id: str
    state: str
    quoted: int
    held: int
    charged: int
    refunded: int
    reason: str
    why: str
    priced: PricedOut
    drawn: list[DrawnOut]
    held_at: int
    ended_at: int | None


@router.get("/{video_id}/receipt")
async def retrieve_receipt(principal: Reader, video_id: VideoId, studio: StudioDep) -> ReceiptOut:
    """The receipt of one video, also after it was deleted."""
    return _receipt_out(await get_receipt(studio, principal, video_id))


def _receipt_out(receipt: ReceiptView) -> ReceiptOut:
    return ReceiptOut(
        video_id=receipt.job_id,
        state=receipt.state.value,
        quoted=receipt.quoted,
        held=receipt.held,
        charged=receipt.charged,
        refunded=receipt.refunded,
        reason=receipt.outcome.value,
        why=receipt.why,
        priced=PricedOut(
            model=receipt.model,
            size=receipt.size,
            num_frames=receipt.num_frames,
            num_inference_steps=receipt.steps,
        ),
        drawn=[
            DrawnOut(
                grant_id=part.grant_id,
                source=part.source.value,
                expires_at=_seconds(part.expires_at),
                held=part.held,
                charged=part.charged,
            )
            for part in receipt.drawn
        ],
        held_at=int(receipt.held_at.timestamp()),
        ended_at=_seconds(receipt.ended_at),
    )


def _seconds(moment: datetime | None) -> int | None:
    return None if moment is None else int(moment.timestamp())
