"""Where everything lies in storage: the only place that builds an object's key, or reads one. Pure.

jobs/{job}/{fence}/       what one attempt writes: clip, pictures, preview, report, checkpoints
jobs/{job}/kept/          checkpoints of attempts whose workers fell silent, out of their reach
judged/{job}/             the copies that were judged: all that is ever shown
uploads/{account}/        images that creators gave
"""

import re
from enum import StrEnum


class AttemptFile(StrEnum):
    """What an attempt writes, by its name in the attempt's folder."""

    CLIP = "clip.mp4"
    THUMBNAIL = "thumbnail.webp"
    SPRITESHEET = "spritesheet.webp"
    PREVIEW = "preview.webp"
    REPORT = "report.json"
    CHECKPOINT_A = "checkpoint-a"  # the two are written in turns, so that one is always whole
    CHECKPOINT_B = "checkpoint-b"


_CHECKPOINT = re.compile(r"jobs/[^/]+/(?:(\d+)/checkpoint-[^/]+|kept/(\d+)-\d+)")
_JUDGED = re.compile(r"judged/([^/]*)/.*", re.DOTALL)


def attempts_prefix(job_id: str) -> str:
    """The folder of all that attempts at a job wrote. Nothing below it is ever shown after a verdict."""
    return f"jobs/{job_id}/"


def attempt_prefix(job_id: str, fence: int) -> str:
    """The folder that one attempt writes to, and no other does."""
    return f"{attempts_prefix(job_id)}{fence}/"


def attempt_file(job_id: str, fence: int, file: AttemptFile) -> str:
    """One of an attempt's own objects."""
    return attempt_prefix(job_id, fence) + file.value


def own_checkpoints(job_id: str, fence: int) -> frozenset[str]:
    """The two objects that an attempt may name as its checkpoint."""
    return frozenset(
        attempt_file(job_id, fence, file) for file in (AttemptFile.CHECKPOINT_A, AttemptFile.CHECKPOINT_B)
    )


def kept_prefix(job_id: str) -> str:
    """The folder of checkpoints that were copied out of the reach of workers that fell silent."""
    return f"{attempts_prefix(job_id)}kept/"


def kept_checkpoint(job_id: str, fence: int, step: int) -> str:
    """Where the checkpoint of a silent worker's attempt is kept."""
    return f"{kept_prefix(job_id)}{fence}-{step}"


def fence_of_checkpoint(key: str) -> int | None:
    """The fence of the attempt that made the checkpoint under this key, kept or not; None: it is no checkpoint."""
    found = _CHECKPOINT.fullmatch(key)
    return int(found[1] or found[2]) if found else None


def judged_prefix(job_id: str) -> str:
    """The folder of a job's judged copies: no worker writes there, and all that is ever shown lies there."""
    return f"judged/{job_id}/"


def job_of_judged(key: str) -> str | None:
    """The job whose judged copy lies under this key; None: it is none."""
    found = _JUDGED.fullmatch(key)
    return found[1] if found else None


def upload_key(account_id: str, upload_id: str, ending: str) -> str:
    """Where an account's image lies; `ending` without its dot."""
    return f"uploads/{account_id}/{upload_id}.{ending}"
