"""What an attempt leaves in storage: its clip, checkpoints, previews, and the report beside the clip."""

import asyncio
import hashlib
from collections.abc import Callable

from backend.contracts import CheckpointRef, Report, SignedObject
from backend.log import get_logger
from gpu_worker.attempt import AttemptInterruptedError, AttemptRun, Interrupt
from gpu_worker.checkpoint import Checkpoint
from gpu_worker.encode import EncodedClip, EncodedFile
from gpu_worker.engine import Frames
from gpu_worker.objects import ObjectClient, ObjectError
from gpu_worker.pace import Pace
from gpu_worker.preview import encode_preview

log = get_logger(__name__)


class Delivery:
    """Writes by the signed URLs of a run's order. `hurried`: the worker is being shut down. `changed`: tell of it."""

    def __init__(self, objects: ObjectClient, pace: Pace, changed: Callable[[], None]) -> None:
        self.hurried = False
        self._objects = objects
        self._pace = pace
        self._changed = changed

    async def clip(self, run: AttemptRun, encoded: EncodedClip) -> None:
        """The clip and its pictures. Raises `ObjectError`."""
        # The order is asked anew for each: a repeat of it may have brought newer URLs meanwhile.
        await self._put_file(run.order.objects.clip, encoded.video)
        await self._put_file(run.order.objects.thumbnail, encoded.thumbnail)
        await self._put_file(run.order.objects.spritesheet, encoded.spritesheet)

    async def _put_file(self, target: SignedObject, file: EncodedFile) -> None:
        await self._objects.put(target, file.path, content_type=file.content_type)

    async def checkpoint(self, run: AttemptRun, checkpoint: Checkpoint, patience_s: float = 0.0) -> None:
        """Make it durable, and the run's newest; without success the one before stays."""
        target = run.spare_checkpoint_object()
        try:
            data = await asyncio.to_thread(checkpoint.to_bytes)
            await self._objects.put(
                target,
                data,
                content_type="application/octet-stream",
                give_up_after_s=patience_s or self._pace.checkpoint_patience_s,
            )
            run.durable = CheckpointRef(
                key=target.key,
                step=checkpoint.step,
                sha256=await asyncio.to_thread(_sha256, data),
                size_bytes=len(data),
                identity=checkpoint.identity,
            )
            self._changed()
        except ObjectError as error:
            log.warning("checkpoint.not_kept", job_id=run.order.job_id, reason=str(error))
        finally:
            run.checkpoint_busy = False

    async def last_checkpoint(self, run: AttemptRun, error: AttemptInterruptedError) -> None:
        """The one that an interrupted run took as it stopped, if it is to go on later."""
        checkpoint = error.checkpoint
        if checkpoint is None or error.interrupt is Interrupt.STOP:
            return
        patience_s = self._pace.drain_upload_s if self.hurried else self._pace.checkpoint_patience_s
        # An older one may still be on its way to the spare object; the two must not race for it.
        if run.chores:
            _, late = await asyncio.wait(run.chores, timeout=patience_s / 2)
            for chore in late:
                chore.cancel()
        await self.checkpoint(run, checkpoint, patience_s)

    async def preview(self, run: AttemptRun, frames: Frames) -> None:
        """A picture of the run in progress."""
        try:
            picture = await asyncio.to_thread(encode_preview, frames)
            await self._objects.put(
                run.order.objects.preview,
                picture,
                content_type="image/webp",
                give_up_after_s=self._pace.preview_patience_s,
            )
            run.preview_version += 1
            self._changed()
        except ObjectError as error:
            log.info("preview.not_shown", job_id=run.order.job_id, reason=str(error))
        finally:
            run.preview_busy = False

    async def report_beside(self, run: AttemptRun, report: Report) -> None:
        """Lay the report beside the clip: found there it is as good as one received."""
        patience_s = self._pace.drain_upload_s if self.hurried else self._pace.report_object_patience_s
        try:
            await self._objects.put(
                run.order.objects.report,
                report.model_dump_json().encode(),
                content_type="application/json",
                give_up_after_s=patience_s,
            )
        except ObjectError as error:
            log.warning("report.not_laid_beside", job_id=run.order.job_id, reason=str(error))


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
