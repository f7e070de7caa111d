"""How fast a worker is with a recipe, by its own last attempts; by the recipe while there are none."""

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.contracts import AttemptPhase
from backend.db.models import Attempt, Job
from backend.domain.patience import Pace, Stage, believed_s
from backend.domain.spec import GenerationSpec
from backend.recipes import CATALOGUE

_STAGES = {
    "": Stage.WAITING,
    AttemptPhase.RECEIVED: Stage.WAITING,
    AttemptPhase.LOADING: Stage.LOADING,
    AttemptPhase.ENCODING_TEXT: Stage.PREPARING,
    AttemptPhase.DENOISING: Stage.STEPPING,
    AttemptPhase.DECODING: Stage.FINISHING,
    AttemptPhase.UPLOADING: Stage.SENDING,
    AttemptPhase.REPORTED: Stage.SENDING,
}
_MEASURED = text(
    """
    SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY a.step_s / s.pixels) AS step_s,
           percentile_cont(0.5) WITHIN GROUP (ORDER BY a.load_s) FILTER (WHERE a.load_s > 0.1) AS load_s,
           percentile_cont(0.5) WITHIN GROUP (ORDER BY a.around_s) AS around_s
    FROM (
        SELECT step_s / batch_size AS step_s, job_id, (timings->>'load_s')::float * batch_size AS load_s,
               (timings->>'text_s')::float + (timings->>'decode_s')::float AS around_s
        FROM attempts
        WHERE worker_id = :worker_id AND ended_at IS NOT NULL AND state IN ('done', 'preempted', 'handed_back')
        ORDER BY ended_at DESC LIMIT 50
    ) a
    JOIN jobs j ON j.id = a.job_id AND j.recipe = :recipe AND j.recipe_revision = :revision
    CROSS JOIN LATERAL (
        SELECT greatest(1.0, (j.spec->>'width')::float * (j.spec->>'height')::float
                             * (j.spec->>'num_frames')::float) AS pixels
    ) s
    """
)


def stage_of(attempt: Attempt) -> Stage:
    """What the attempt does now. The first step of a run may compile, and has the time of a load."""
    stage = _STAGES.get(attempt.phase, Stage.STEPPING)
    first = attempt.steps_done <= attempt.resumed_from_step
    return Stage.LOADING if stage is Stage.STEPPING and first else stage


async def pace_of(session: AsyncSession, attempt: Attempt, job: Job) -> Pace:
    """This worker's pace with this job: measured medians, this attempt's own steps, the recipe's expectation.

    All that is measured is the worker's word, and believed within bounds of what the recipe declares.
    Medians are of one clip's share of a pass; what is expected of this attempt is of all that are in its own.
    """
    measured = (
        await session.execute(
            _MEASURED,
            {"worker_id": attempt.worker_id, "recipe": job.recipe, "revision": job.recipe_revision},
        )
    ).one()
    recipe = CATALOGUE.get(job.recipe)
    cost = recipe.cost if recipe is not None else None
    together = attempt.batch_size
    declared_s = expected_step_s(job) * together
    step_s = declared_s if measured.step_s is None else measured.step_s * _pixels(job) * together
    load_s = cost.load_s if cost else 0.0
    around_s = cost.base_gpu_s * together if cost else 0.0
    return Pace(
        step_s=believed_s(max(attempt.step_s or 0.0, step_s), declared_s),
        load_s=believed_s(max(measured.load_s or 0.0, load_s), load_s),
        around_s=believed_s(max((measured.around_s or 0.0) * together, around_s), around_s),
    )


def expected_step_s(job: Job) -> float:
    """Seconds a step on the recipe's reference card."""
    recipe = CATALOGUE.get(job.recipe)
    return recipe.cost.gpu_s_per_mpxf_step * _pixels(job) / 1e6 if recipe is not None else 0.0


def _pixels(job: Job) -> float:
    spec = GenerationSpec.from_json(job.spec)
    return float(spec.width * spec.height * spec.num_frames)
