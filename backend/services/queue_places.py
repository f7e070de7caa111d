"""Places in the queue, asked of the leader, which holds the fair queue in memory. No answer: no place shown."""

import dataclasses
from collections.abc import Sequence
from typing import cast

from backend.auth.principal import Principal
from backend.domain.generation import ON_WORKER, JobState
from backend.services.generation_request import ResolvedRequest
from backend.services.job_view import JobView, PlaceView
from backend.studio import Studio


async def with_places(studio: Studio, views: Sequence[JobView]) -> list[JobView]:
    """The same views, with a place for those that wait or run. One question for all of them."""
    asking = [v.id for v in views if v.state is JobState.QUEUED or v.state in ON_WORKER]
    if not asking:
        return list(views)
    answer = await studio.wakeups.ask_leader({"ask": "places", "job_ids": asking})
    places = cast("dict[str, dict[str, object]]", (answer or {}).get("places", {}))
    return [dataclasses.replace(v, place=_place(places[v.id])) if v.id in places else v for v in views]


async def ask_wait(
    studio: Studio, principal: Principal, request: ResolvedRequest
) -> tuple[float, float] | None:
    """Seconds (p50, p90) until this clip would be there, if it were sent now."""
    answer = await studio.wakeups.ask_leader(
        {
            "ask": "wait",
            "account_id": principal.account_id,
            "tier": principal.tier,
            "recipe": request.recipe.name,
            "gpu_s": request.gpu_s,
            "steps": request.num_inference_steps,
        }
    )
    if not answer or answer.get("p50_s") is None:
        return None
    return float(cast(float, answer["p50_s"])), float(cast(float, answer["p90_s"]))


def _place(data: dict[str, object]) -> PlaceView:
    return PlaceView(
        position=cast("int | None", data.get("position")),
        of=cast(int, data.get("of", 0)),
        p50_s=cast("float | None", data.get("p50_s")),
        p90_s=cast("float | None", data.get("p90_s")),
        reason=str(data.get("reason", "")),
        paced=bool(data.get("paced")),
    )
