"""The steps that the control worker takes."""

from collections.abc import Mapping

from backend.domain.events import Consumer
from backend.services.decide_review import apply_decision
from backend.services.publish_generation import publish_generation
from backend.services.sweep_generation import sweep_generation
from backend.studio import Studio
from jobs.take_step import BegunStep, Step


async def _publish(studio: Studio, step: BegunStep) -> None:
    await publish_generation(studio, step.subject)


async def _apply_decision(studio: Studio, step: BegunStep) -> None:
    await apply_decision(studio, step.subject, int(step.payload["version"]))


async def _sweep(studio: Studio, step: BegunStep) -> None:
    await sweep_generation(studio, step.subject)


CONTROL_STEPS: Mapping[Consumer, Step] = {
    Consumer.PUBLISH: _publish,
    Consumer.APPLY_DECISION: _apply_decision,
    Consumer.SWEEP: _sweep,
}
