"""Where things lie in storage: what is built is read back, and nobody's folder is another's."""

import re
from pathlib import Path

import pytest

from backend.contracts import MAX_CHECKPOINT_BYTES
from backend.domain.object_keys import (
    AttemptFile,
    attempt_file,
    attempt_prefix,
    fence_of_checkpoint,
    job_of_judged,
    judged_prefix,
    kept_checkpoint,
    own_checkpoints,
    upload_key,
)
from backend.domain.upload import MAX_KEPT_BYTES
from moderation.images import MAX_ANSWER_BYTES

ROOT = Path(__file__).parents[2]
HOME = ROOT / "backend" / "domain" / "object_keys.py"


@pytest.mark.parametrize("key", [*sorted(own_checkpoints("video_1", 7)), kept_checkpoint("video_1", 7, 20)])
def test_a_checkpoints_key_says_which_attempt_made_it(key: str) -> None:
    assert fence_of_checkpoint(key) == 7


@pytest.mark.parametrize(
    "key",
    [
        attempt_file("video_1", 7, AttemptFile.CLIP),
        attempt_prefix("video_1", 7),
        upload_key("acct_1", "up_1", "png"),
        "jobs/video_1/x/checkpoint-a",
    ],
)
def test_another_key_is_no_checkpoint(key: str) -> None:
    assert fence_of_checkpoint(key) is None


def test_an_attempt_names_its_own_two_checkpoints_alone() -> None:
    assert own_checkpoints("video_1", 7) == {"jobs/video_1/7/checkpoint-a", "jobs/video_1/7/checkpoint-b"}
    assert not own_checkpoints("video_1", 7) & own_checkpoints("video_1", 70)


def test_a_judged_copy_is_known_by_its_key() -> None:
    assert job_of_judged(judged_prefix("video_1") + "video-0.mp4") == "video_1"
    for other in (
        attempt_prefix("video_1", 1),
        upload_key("acct_1", "up_1", "png"),
        "judged/video_1",
    ):
        assert job_of_judged(other) is None


def test_no_other_module_knows_where_things_lie() -> None:
    layout = re.compile(
        r"""f?["'](jobs|judged|uploads)/\{|["']checkpoint-[ab]["']|\+ ["'](clip|report|preview)\."""
    )
    found = [
        str(path.relative_to(ROOT))
        for room in ("backend", "jobs", "gpu_worker", "frontend")
        for path in (ROOT / room).rglob("*.py")
        if path != HOME and layout.search(path.read_text(encoding="utf-8"))
    ]
    assert found == []


def test_whatever_may_be_kept_may_be_read() -> None:
    assert MAX_ANSWER_BYTES <= MAX_KEPT_BYTES < MAX_CHECKPOINT_BYTES
