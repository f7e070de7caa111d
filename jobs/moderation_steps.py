"""The steps that the moderation worker takes: what needs a classifier, off every API process."""

from collections.abc import Mapping
from typing import Any

from backend.domain.events import Consumer
from backend.services.moderate_generation import ClipJudge, moderate_generation
from backend.services.screen_input import ImageJudge, screen_input
from backend.studio import Studio
from jobs.take_step import Step


def moderation_steps(judge_clip: ClipJudge, judge_image: ImageJudge) -> Mapping[Consumer, Step]:
    """The steps, with the judges they use."""

    async def screen(studio: Studio, job_id: str, _payload: Mapping[str, Any]) -> None:
        await screen_input(studio, job_id, judge_image)

    async def moderate(studio: Studio, job_id: str, _payload: Mapping[str, Any]) -> None:
        await moderate_generation(studio, job_id, judge_clip)

    return {Consumer.SCREEN_INPUT: screen, Consumer.MODERATE: moderate}
