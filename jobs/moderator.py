"""The moderation worker: gives inputs and clips their verdicts. The only process beside the GPU worker with torch."""

import asyncio
import signal
import sys

from backend.contracts.arq_queue import serve_queue
from backend.ending import end_tasks
from backend.log import configure_logging, get_logger
from backend.notify import notify_ready
from backend.operator_errors import OperatorError
from backend.services.moderate_generation import ClipFiles, ClipJudge
from backend.services.screen_input import ImageJudge
from backend.settings import load_settings
from backend.studio import Studio, open_studio
from jobs.moderation_steps import moderation_steps
from jobs.queues import MODERATION_QUEUE
from jobs.take_step import step_function
from moderation.classifier import Classifier
from moderation.judge import judge_clip, judge_image
from moderation.policy import Policy, default_policy
from moderation.verdict import Ruling

log = get_logger(__name__)

STEPS_AT_ONCE = 4


def main() -> int:
    """Run until a signal."""
    try:
        settings = load_settings()
        studio = open_studio(settings, pool_size=6)
        redis_url = settings.require_redis_url()
    except OperatorError as error:
        print(f"zoetrope moderator: {error}", file=sys.stderr)
        return error.exit_code
    configure_logging("moderator", settings.log_level)
    asyncio.run(_serve(studio, redis_url))
    return 0


def load_classifier(policy: Policy) -> Classifier:
    """The CLIP that the policy asks. Importing torch takes seconds, so this runs in a thread."""
    from moderation.clip_classifier import ClipClassifier

    return ClipClassifier(policy)


def make_judges(classifier: Classifier, policy: Policy) -> tuple[ClipJudge, ImageJudge]:
    """A judge of clips and one of uploaded images. Neither raises: what errs is a ruling for review."""

    def clip(files: ClipFiles) -> Ruling:
        return judge_clip(
            files.video,
            classifier,
            policy,
            thumbnail=files.thumbnail,
            spritesheet=files.spritesheet,
            sheet_columns=files.sheet_columns,
            sheet_rows=files.sheet_rows,
        )

    def image(data: bytes) -> Ruling:
        return judge_image(data, classifier, policy)

    return clip, image


async def _serve(studio: Studio, redis_url: str) -> None:
    ending = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ending.set)
    policy = default_policy()
    classifier = await asyncio.to_thread(load_classifier, policy)
    log.info("moderator.loaded", classifier=classifier.version, policy=policy.version)
    steps = moderation_steps(*make_judges(classifier, policy))
    serving = asyncio.create_task(
        serve_queue(redis_url, MODERATION_QUEUE, step_function(studio, steps), at_once=STEPS_AT_ONCE)
    )
    notify_ready()
    signalled = asyncio.create_task(ending.wait())
    await asyncio.wait([serving, signalled], return_when=asyncio.FIRST_COMPLETED)
    await end_tasks(serving, within_s=5)
    await studio.close()


if __name__ == "__main__":
    raise SystemExit(main())
