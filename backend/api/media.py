"""Pictures and clips for the web app's own pages, at addresses that stay the same. Each request asks again who may."""

import re
from typing import Literal

from fastapi import APIRouter, Depends, Response
from fastapi.responses import RedirectResponse

from backend.api.dependencies import Reader, SignedIn, StudioDep
from backend.api.limits import coarse_limit
from backend.api.videos import VideoId
from backend.domain.artifact import ArtifactKind
from backend.domain.errors import NotFound
from backend.ids import IdPrefix, is_id
from backend.services.fetch_artifact import artifact_url, evidence_url, preview_frame, upload_url

router = APIRouter(include_in_schema=False, dependencies=[Depends(coarse_limit)])

_EVIDENCE = re.compile("[a-z0-9_]{1,40}")
_NOT_KEPT = {"cache-control": "private, no-store"}


@router.get("/media/{video_id}/preview")
@router.head("/media/{video_id}/preview")
async def show_preview(principal: Reader, video_id: VideoId, studio: StudioDep) -> Response:
    """The newest preview frame of a clip that is being made. The page's `v` grows with each."""
    frame = await preview_frame(studio, principal, video_id)
    return Response(frame, media_type="image/webp", headers={"cache-control": "private, max-age=60"})


@router.get("/media/{video_id}/{kind}")
@router.head("/media/{video_id}/{kind}")
async def show_artifact(
    principal: Reader,
    video_id: VideoId,
    kind: Literal["video", "thumbnail", "spritesheet"],
    studio: StudioDep,
    download: bool = False,
) -> Response:
    """A released clip or picture: a redirect to a URL that works for a while."""
    url = await artifact_url(studio, principal, video_id, ArtifactKind(kind), download=download)
    return RedirectResponse(url, status_code=302, headers=_NOT_KEPT)


@router.get("/uploads/{upload_id}")
@router.head("/uploads/{upload_id}")
async def show_upload(principal: Reader, upload_id: str, studio: StudioDep) -> Response:
    """An image that the asker gave: a redirect to a URL that works for a while."""
    if not is_id(upload_id, IdPrefix.UPLOAD):
        raise NotFound("There is no such image.")
    url = await upload_url(studio, principal, upload_id)
    return RedirectResponse(url, status_code=302, headers=_NOT_KEPT)


@router.get("/evidence/{case_id}/{name}")
@router.head("/evidence/{case_id}/{name}")
async def show_evidence(principal: SignedIn, case_id: str, name: str, studio: StudioDep) -> Response:
    """What a moderator decides on: a kind of artifact, or the id of an uploaded image."""
    if not is_id(case_id, IdPrefix.REVIEW_CASE) or not _EVIDENCE.fullmatch(name):
        raise NotFound("There is no such case.")
    url = await evidence_url(studio, principal, case_id, name)
    return RedirectResponse(url, status_code=302, headers=_NOT_KEPT)
