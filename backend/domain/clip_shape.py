"""What a clip's files must look like, given what was ordered: pixels, pictures and bytes. Pure."""

from dataclasses import dataclass
from math import ceil

from backend.domain.artifact import ArtifactKind
from backend.domain.spec import GenerationSpec

MAX_SHEET_PICTURES = 100
_ROOM_BYTES = 2**20
"""For a container's index and the like. Beyond that nothing is larger encoded than its pixels are."""


@dataclass(frozen=True, kw_only=True)
class ReportedShape:
    """What a worker says of one file; `num_frames` and `columns` of a spritesheet are those of its pictures."""

    width: int
    height: int
    num_frames: int
    columns: int
    size_bytes: int


def misfit(kind: ArtifactKind, shape: ReportedShape, spec: GenerationSpec) -> str | None:
    """Why a file of this shape is no part of the clip that was ordered; None: it may be."""
    if kind is ArtifactKind.VIDEO:
        wanted = (spec.width, spec.height, spec.num_frames)
        fits = (shape.width, shape.height, shape.num_frames) == wanted
        pixels = spec.width * spec.height * spec.num_frames
    elif kind is ArtifactKind.THUMBNAIL:
        fits = 1 <= shape.width <= spec.width and 1 <= shape.height <= spec.height and shape.num_frames == 1
        pixels = spec.width * spec.height
    else:
        fits = _is_sheet(shape, spec)
        pixels = shape.width * shape.height
    if not fits:
        return (
            f"{kind} of {shape.width}x{shape.height}, {shape.num_frames} frames in {shape.columns} columns, where"
            f" {spec.size} and {spec.num_frames} frames were ordered"
        )
    if not 0 < shape.size_bytes <= 3 * pixels + _ROOM_BYTES:
        return f"{kind} of {shape.size_bytes} bytes for {pixels} pixels"
    return None


def _is_sheet(shape: ReportedShape, spec: GenerationSpec) -> bool:
    """Whole pictures in rows, none larger than the clip, no more than it has frames."""
    if not 1 <= shape.columns <= shape.num_frames <= min(MAX_SHEET_PICTURES, spec.num_frames):
        return False
    rows = ceil(shape.num_frames / shape.columns)
    if shape.width % shape.columns or shape.height % rows:
        return False
    return 1 <= shape.width // shape.columns <= spec.width and 1 <= shape.height // rows <= spec.height
