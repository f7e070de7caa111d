"""`/v1/videos`: the routes of the `openai` client's `videos`, and ours beside them."""

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.responses import RedirectResponse

from backend.api.create_fields import CREATE_DOCS, CREATE_FIELDS, request_of
from backend.api.dependencies import Reader, StudioDep, Writer, asker, process_of
from backend.api.event_stream import EventStream
from backend.api.input_reference import upload_of
from backend.api.limits import coarse_limit
from backend.api.parse_bodies import parse_body
from backend.api.schemas import VideoDeletedOut, VideoOut, VideoPageOut, poll_after_ms, video_out
from backend.auth.principal import Scope
from backend.domain.artifact import ArtifactKind
from backend.domain.clean_text import shown
from backend.domain.errors import NotFound, ZoetropeError
from backend.ids import IdPrefix, is_id, new_id
from backend.services.cancel_generation import cancel_generation
from backend.services.delete_generation import delete_generation
from backend.services.get_generation import get_generation
from backend.services.list_generations import MAX_PAGE, Order, list_generations
from backend.services.locate_artifact import locate_artifact
from backend.services.submit_generation import submit_generation

router = APIRouter(prefix="/v1/videos", tags=["videos"], dependencies=[Depends(coarse_limit)])

CONTENT_TTL = timedelta(minutes=15)
KEEP_ALIVE_S = 10.0
READ_AGAIN_S = 5.0
SETTLE_S = 0.15
_RETRIED = re.compile(r"\s*0*[1-9][0-9]{0,5}\s*")


def video_id_of(video_id: str) -> str:
    """A path's id, if anything can have it. Raises `NotFound`."""
    if not is_id(video_id, IdPrefix.VIDEO):
        raise NotFound(f"There is no video {shown(video_id)!r}.", param="video_id")
    return video_id


VideoId = Annotated[str, Depends(video_id_of)]


@router.post("", openapi_extra=CREATE_DOCS)
async def create_video(
    request: Request,
    response: Response,
    studio: StudioDep,
    principal: Writer,
    idempotency_key: Annotated[str | None, Header()] = None,
    x_stainless_retry_count: Annotated[str | None, Header()] = None,
) -> VideoOut:
    """Submit a generation job. Multipart or JSON."""
    fields = await parse_body(request)
    job_id = new_id(IdPrefix.VIDEO)
    retried = _RETRIED.fullmatch(x_stainless_retry_count or "") is not None
    first_tries: tuple[str, ...] = ()
    try:
        fields.refuse_unknown(CREATE_FIELDS)
        if idempotency_key is None:
            wish = await fields.digest()
            if retried:
                first_tries = await studio.tries.of(principal.account_id, wish)
            else:
                # Before anything that may refuse it and not another time.
                await studio.tries.note(principal.account_id, wish, job_id)
        wanted = request_of(fields, None)
        upload_id = await upload_of(studio, principal, fields)
    finally:
        await fields.close()
    if upload_id is not None:
        wanted = request_of(fields, upload_id)
    view = await submit_generation(
        studio,
        principal,
        wanted,
        idempotency_key=idempotency_key,
        job_id=job_id,
        retried=retried,
        first_tries=first_tries,
        trace_id=request.state.trace_id,
    )
    response.headers["openai-poll-after-ms"] = str(poll_after_ms(view))
    return video_out(view)


@router.get("")
async def list_videos(
    studio: StudioDep,
    principal: Reader,
    after: Annotated[str | None, Query(max_length=100)] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 20,
    order: Literal["asc", "desc"] = "desc",
) -> VideoPageOut:
    """The account's videos, newest first."""
    if after is not None and not is_id(after, IdPrefix.VIDEO):
        raise NotFound(f"There is no video {shown(after)!r} to list after.", param="after")
    page = await list_generations(studio, principal, after=after, limit=limit, order=Order(order))
    data = [video_out(view) for view in page.items]
    return VideoPageOut(
        data=data,
        has_more=page.has_more,
        first_id=data[0].id if data else None,
        last_id=data[-1].id if data else None,
    )


@router.get("/{video_id}")
async def retrieve_video(
    principal: Reader, video_id: VideoId, response: Response, studio: StudioDep
) -> VideoOut:
    """One video as it is now."""
    view = await get_generation(studio, principal, video_id)
    response.headers["openai-poll-after-ms"] = str(poll_after_ms(view))
    return video_out(view)


@router.delete("/{video_id}")
async def delete_video(principal: Writer, video_id: VideoId, studio: StudioDep) -> VideoDeletedOut:
    """Delete for good; a running one is cancelled first."""
    await delete_generation(studio, principal, video_id)
    return VideoDeletedOut(id=video_id)


@router.post("/{video_id}/cancel")
async def cancel_video(principal: Writer, video_id: VideoId, studio: StudioDep) -> VideoOut:
    """Stop a job. Charged for the steps done, if it was running."""
    return video_out(await cancel_generation(studio, principal, video_id))


@router.get("/{video_id}/content", status_code=302, response_class=RedirectResponse)
@router.head("/{video_id}/content", status_code=302, response_class=RedirectResponse, include_in_schema=False)
async def download_content(
    principal: Reader,
    video_id: VideoId,
    studio: StudioDep,
    variant: Literal["video", "thumbnail", "spritesheet"] = "video",
    download: bool = False,
) -> Response:
    """Where the bytes are: a redirect to a URL that works for a while. 404 before completion."""
    found = await locate_artifact(studio, principal, video_id, ArtifactKind(variant))
    url = await studio.storage.signed_get(
        found.key,
        ttl=CONTENT_TTL,
        content_type=found.content_type,
        filename=found.filename if download else None,
    )
    return RedirectResponse(url, status_code=302, headers={"cache-control": "private, no-store"})


@router.get("/{video_id}/events", response_class=EventStream, status_code=200)
async def watch_video(principal: Reader, video_id: VideoId, request: Request, studio: StudioDep) -> Response:
    """Server-sent events `video`, each with the whole Video object, until the job has ended."""
    first = await get_generation(studio, principal, video_id)
    process = process_of(request)

    async def events() -> AsyncIterator[str]:
        shown = video_out(first).model_dump_json()
        yield f"retry: 2000\nevent: video\ndata: {shown}\n\n"
        view = first
        silent_s = 0.0
        with process.live.watch(principal.account_id) as changes:
            while not view.ended:
                changed = await changes.next(READ_AGAIN_S)
                if changed and video_id not in changed:
                    continue
                if changed is None:
                    silent_s += READ_AGAIN_S
                else:
                    # Places in the queue move many times a second when it's busy; an eye needs fewer.
                    await asyncio.sleep(SETTLE_S)
                try:
                    # Whoever was let in at the start may have been shut out meanwhile.
                    (await asker(request)).require(Scope.VIDEOS_READ)
                    view = await get_generation(studio, principal, video_id)
                except ZoetropeError as error:
                    yield f'event: gone\ndata: {{"code": "{error.code}"}}\n\n'
                    return
                if (now := video_out(view).model_dump_json()) != shown:
                    shown, silent_s = now, 0.0
                    yield f"event: video\ndata: {now}\n\n"
                elif silent_s >= KEEP_ALIVE_S:
                    silent_s = 0.0
                    yield ": still here\n\n"

    return EventStream(events(), seats=process.seats, person=principal.user_id)
