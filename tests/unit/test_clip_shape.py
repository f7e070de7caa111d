"""A worker's word about its files counts only where it fits what was ordered."""

from dataclasses import replace

import pytest

from backend.domain.artifact import ArtifactKind
from backend.domain.clip_shape import ReportedShape, misfit
from backend.domain.spec import GenerationSpec

SPEC = GenerationSpec(
    width=256, height=192, num_frames=33, fps=8, num_inference_steps=16, guidance_scale=1.0, seed=1
)
VIDEO = ReportedShape(width=256, height=192, num_frames=33, columns=1, size_bytes=50_000)
THUMBNAIL = ReportedShape(width=256, height=192, num_frames=1, columns=1, size_bytes=5_000)
SHEET = ReportedShape(width=5 * 192, height=5 * 144, num_frames=25, columns=5, size_bytes=50_000)


def test_what_a_worker_writes_fits() -> None:
    assert misfit(ArtifactKind.VIDEO, VIDEO, SPEC) is None
    assert misfit(ArtifactKind.THUMBNAIL, THUMBNAIL, SPEC) is None
    assert misfit(ArtifactKind.SPRITESHEET, SHEET, SPEC) is None


@pytest.mark.parametrize(
    ("kind", "shape"),
    [
        (ArtifactKind.VIDEO, replace(VIDEO, num_frames=34)),
        (ArtifactKind.VIDEO, replace(VIDEO, width=512)),
        (ArtifactKind.VIDEO, replace(VIDEO, height=96)),
        (ArtifactKind.VIDEO, replace(VIDEO, size_bytes=2**30)),
        (ArtifactKind.VIDEO, replace(VIDEO, size_bytes=0)),
        (ArtifactKind.THUMBNAIL, replace(THUMBNAIL, width=257)),
        (ArtifactKind.THUMBNAIL, replace(THUMBNAIL, num_frames=2)),
        (ArtifactKind.SPRITESHEET, replace(SHEET, num_frames=2_000_000_000, columns=1)),
        (ArtifactKind.SPRITESHEET, replace(SHEET, num_frames=34, columns=17)),
        (ArtifactKind.SPRITESHEET, replace(SHEET, columns=0)),
        (ArtifactKind.SPRITESHEET, replace(SHEET, columns=26)),
        (ArtifactKind.SPRITESHEET, replace(SHEET, width=5 * 192 + 1)),
        (ArtifactKind.SPRITESHEET, replace(SHEET, width=5 * 257)),
        (ArtifactKind.SPRITESHEET, replace(SHEET, height=5 * 193)),
        (ArtifactKind.SPRITESHEET, replace(SHEET, size_bytes=2**30)),
    ],
)
def test_what_was_not_ordered_does_not(kind: ArtifactKind, shape: ReportedShape) -> None:
    assert misfit(kind, shape, SPEC) is not None
