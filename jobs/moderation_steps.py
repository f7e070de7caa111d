"""The steps that the moderation worker takes: what needs a classifier, off every API process."""

from collections.abc import Callable, Mapping

from backend.domain.events import Consumer
from backend.log import get_logger
from backend.services.moderate_generation import ClipJudge, moderate_generation
from backend.services.screen_input import ImageJudge, screen_input
from backend.studio import Studio
from jobs.take_step import BegunStep, Step
from moderation.verdict import Ruling, Surface

log = get_logger(__name__)

MOST_BEGUN = 5
"""What ended its judges more often than this is not opened again: a person decides."""


def moderation_steps(
    judge_clip: ClipJudge, judge_image: ImageJudge, unopened: Callable[[Surface], Ruling]
) -> Mapping[Consumer, Step]:
    """The steps, with the judges they use; `unopened` rules on what no judge lives through."""

    async def screen(studio: Studio, step: BegunStep) -> None:
        judge = judge_image
        if _deadly(step):
            judge = lambda _data: unopened(Surface.IMAGE)  # noqa: E731
        await screen_input(studio, step.subject, judge)

    async def moderate(studio: Studio, step: BegunStep) -> None:
        judge = judge_clip
        if _deadly(step):
            judge = lambda _files: unopened(Surface.VIDEO)  # noqa: E731
        await moderate_generation(studio, step.subject, judge)

    return {Consumer.SCREEN_INPUT: screen, Consumer.MODERATE: moderate}


def _deadly(step: BegunStep) -> bool:
    if step.begun <= MOST_BEGUN:
        return False
    log.error("moderation.unopened", subject=step.subject, begun=step.begun)
    return True
