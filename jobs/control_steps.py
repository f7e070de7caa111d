"""The steps that the control worker takes."""

from collections.abc import Mapping
from typing import Any

from backend.domain.events import Consumer
from backend.services.decide_review import apply_decision
from backend.services.publish_generation import publish_generation
from backend.services.sweep_generation import sweep_generation
from backend.studio import Studio
from jobs.take_step import Step


async def _publish(studio: Studio, job_id: str, _payload: Mapping[str, Any]) -> None:
    await publish_generation(studio, job_id)


async def _apply_decision(studio: Studio, case_id: str, payload: Mapping[str, Any]) -> None:
    await apply_decision(studio, case_id, int(payload["version"]))


async def _sweep(studio: Studio, job_id: str, _payload: Mapping[str, Any]) -> None:
    await sweep_generation(studio, job_id)


CONTROL_STEPS: Mapping[Consumer, Step] = {
    Consumer.PUBLISH: _publish,
    Consumer.APPLY_DECISION: _apply_decision,
    Consumer.SWEEP: _sweep,
}
