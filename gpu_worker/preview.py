"""Preview pictures: so small that nothing recognisable leaves before a verdict; shown large and blurred."""

import io

import numpy as np
from PIL import Image

from backend.contracts import PREVIEW_SIDE_PX
from gpu_worker.engine import Frames

MOST_FRAMES = 8
LOOP_MS = 1600


def encode_preview(frames: Frames) -> bytes:
    """An animated WebP of a few frames, at most `PREVIEW_SIDE_PX` on the longer side."""
    count = frames.shape[0]
    chosen = np.unique(np.linspace(0, count - 1, min(count, MOST_FRAMES)).round().astype(int))
    pictures = [_shrink(Image.fromarray(frames[index])) for index in chosen]
    out = io.BytesIO()
    pictures[0].save(
        out,
        format="WEBP",
        save_all=True,
        append_images=pictures[1:],
        duration=LOOP_MS // len(pictures),
        loop=0,
        quality=70,
        method=2,
    )
    return out.getvalue()


def _shrink(picture: Image.Image) -> Image.Image:
    scale = PREVIEW_SIDE_PX / max(picture.size)
    if scale >= 1:
        return picture
    width, height = (max(1, round(side * scale)) for side in picture.size)
    return picture.resize((width, height), Image.Resampling.BOX)
