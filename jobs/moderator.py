"""The moderation worker: gives inputs and clips their verdicts. The only process beside the GPU worker with torch."""

from collections.abc import Callable
from pathlib import Path

from backend.contracts.arq_queue import serve_queue
from backend.log import get_logger
from backend.notify import notify_ready
from backend.operator_errors import BadSettingError
from backend.own_thread import in_own_thread
from backend.scratch import keep_swept
from backend.services.moderate_generation import ClipFiles, ClipJudge
from backend.services.screen_input import ImageJudge
from backend.studio import Studio
from jobs.moderation_steps import moderation_steps
from jobs.process import Work, run_process
from jobs.queues import MODERATION_QUEUE
from jobs.take_step import step_function
from moderation.classifier import Classifier
from moderation.clip_pictures import ClipDecoder
from moderation.frames import ClipShape
from moderation.judge import judge_clip, judge_image, unjudged
from moderation.policy import Policy, default_policy
from moderation.verdict import Ruling, Surface

log = get_logger(__name__)

STEPS_AT_ONCE = 4


def main() -> int:
    """Run until a signal."""
    return run_process("moderator", _work, pool_size=6)


def _work(studio: Studio, redis_url: str) -> Work:
    return _moderate(studio, redis_url), keep_swept()


def load_classifier(policy: Policy, folder: Path | None = None) -> Classifier:
    """The CLIP in `folder`, or the mini one. Importing torch takes seconds, so this runs in a thread.

    Raises `BadSettingError` where the folder holds none.
    """
    from moderation.clip_classifier import ClipClassifier

    if folder is None:
        return ClipClassifier(policy)
    try:
        return ClipClassifier(policy, folder=folder, name="clip")
    except FileNotFoundError as error:
        raise BadSettingError("ZOETROPE_CLIP can't be used", str(error)) from error


class JudgesDied(Exception):
    """Each of the processes that tried to judge this ended in it."""


def make_judges(
    classifier: Classifier, policy: Policy, decoder: ClipDecoder
) -> tuple[ClipJudge, ImageJudge, Callable[[Surface], Ruling]]:
    """A judge of clips, one of uploaded images, and the ruling on what ends the process of a judge.

    What errs is a ruling for review; `NotAsOrdered` is raised.
    """

    def clip(files: ClipFiles) -> Ruling:
        return judge_clip(
            files.video,
            classifier,
            policy,
            decoder=decoder,
            thumbnail=files.thumbnail,
            spritesheet=files.spritesheet,
            sheet_columns=files.sheet_columns,
            sheet_rows=files.sheet_rows,
            shape=_shape_of(files),
        )

    def image(data: bytes) -> Ruling:
        return judge_image(data, classifier, policy)

    def unopened(surface: Surface) -> Ruling:
        return unjudged(JudgesDied("its judges ended without a word"), surface, classifier, policy)

    return clip, image, unopened


def _shape_of(files: ClipFiles) -> ClipShape:
    return ClipShape(
        width=files.width,
        height=files.height,
        num_frames=files.num_frames,
        thumbnail=files.thumbnail_size,
        spritesheet=files.sheet_size,
    )


async def _moderate(studio: Studio, redis_url: str) -> None:
    policy = default_policy()
    classifier = await in_own_thread(lambda: load_classifier(policy, studio.settings.clip))
    log.info("moderator.loaded", classifier=classifier.version, policy=policy.version)
    with ClipDecoder() as decoder:
        decoder.start()
        steps = step_function(studio, moderation_steps(*make_judges(classifier, policy, decoder)))
        notify_ready()
        await serve_queue(redis_url, MODERATION_QUEUE, steps, at_once=STEPS_AT_ONCE)


if __name__ == "__main__":
    raise SystemExit(main())
