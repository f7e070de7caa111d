"""The last words of a worker on its attempts, as messages. Sending them is the loop's."""

import json
from dataclasses import dataclass

from pydantic import ValidationError

from backend.contracts import (
    FailureCause,
    Order,
    Outcome,
    Report,
    ReportedArtifact,
    SignedObject,
    StageTimings,
)
from backend.log import get_logger
from gpu_worker.attempt import AttemptRun
from gpu_worker.encode import EncodedClip, EncodedFile
from gpu_worker.engine import EngineClip

log = get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class Reporter:
    """Reports in the name of one worker process."""

    worker_id: str
    boot_id: str

    def ended(self, run: AttemptRun, outcome: Outcome, message: str = "") -> Report:
        """An attempt that ended without a clip."""
        order = run.order
        return Report(
            worker_id=self.worker_id,
            boot_id=self.boot_id,
            attempt_id=order.attempt_id,
            job_id=order.job_id,
            fence=order.fence,
            outcome=outcome,
            message=message,
            steps_done=run.step,
            resumed_from_step=run.resumed_from_step,
            identity=run.identity,
            checkpoint=run.durable,
            timings=StageTimings(load_s=run.load_s),
        )

    def failed(self, run: AttemptRun, cause: FailureCause, message: str) -> Report:
        """An attempt that failed, and why."""
        log.warning(
            "attempt.failed",
            job_id=run.order.job_id,
            attempt=run.order.attempt_id,
            trace_id=run.order.trace_id,
            cause=cause,
            reason=message,
        )
        return self.ended(run, Outcome.FAILED, message).model_copy(update={"cause": cause})

    def done(
        self, run: AttemptRun, clip: EngineClip, encoded: EncodedClip, *, encode_s: float, upload_s: float
    ) -> Report:
        """A clip that lies in storage."""
        timings = StageTimings(
            load_s=run.load_s,
            text_s=clip.text_s,
            denoise_s=clip.denoise_s,
            decode_s=clip.decode_s,
            encode_s=encode_s,
            upload_s=upload_s,
            checkpoint_s=run.checkpoint_s,
        )
        return self.ended(run, Outcome.DONE).model_copy(
            update={
                "artifacts": _artifacts(run.order, encoded),
                "timings": timings,
                "exact_resume": clip.exact_resume,
                "resumed_from_step": clip.resumed_from_step,
            }
        )

    def unreadable(self, raw: object, error: ValidationError) -> Report | None:
        """On an order that can't be read; None where it does not even say which attempt it is."""
        problem = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in problem["loc"])
        message = f"the order can't be read: {where}: {problem['msg']}"
        log.error("order.unreadable", reason=message)
        data: object = raw
        if isinstance(raw, str | bytes):
            try:
                data = json.loads(raw)
            except ValueError:
                return None
        if not isinstance(data, dict):
            return None
        try:
            return Report.model_validate(
                {
                    **{key: data.get(key) for key in ("attempt_id", "job_id", "fence")},
                    "worker_id": self.worker_id,
                    "boot_id": self.boot_id,
                    "outcome": Outcome.FAILED,
                    "cause": FailureCause.BAD_ORDER,
                    "message": message,
                }
            )
        except ValidationError:
            return None


def _artifacts(order: Order, encoded: EncodedClip) -> tuple[ReportedArtifact, ...]:
    objects = order.objects
    return (
        _artifact("video", objects.clip, encoded.video),
        _artifact("thumbnail", objects.thumbnail, encoded.thumbnail),
        _artifact("spritesheet", objects.spritesheet, encoded.spritesheet),
    )


def _artifact(kind: str, target: SignedObject, file: EncodedFile) -> ReportedArtifact:
    return ReportedArtifact(
        kind=kind,
        key=target.key,
        sha256=file.sha256,
        size_bytes=file.size_bytes,
        content_type=file.content_type,
        width=file.width,
        height=file.height,
        num_frames=file.num_frames,
        fps=file.fps,
        duration_s=file.duration_s,
        columns=file.columns,
    )
