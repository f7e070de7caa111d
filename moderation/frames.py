"""Which frames of a clip are looked at, and how they are decoded: all of a short clip, and of a longer one an
even grid and what follows every abrupt change, so that a flash of two frames is seen; all of one that changes more
often. Memory stays bounded.

Where a stranger made the clip, this runs in a process with limits (`clip_pictures.py`).
"""

import errno
import io
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

import av
import numpy as np
import numpy.typing as npt
from PIL import Image

from moderation.verdict import NotAsOrdered

ALL_UP_TO: Final = 48
GRID_FRAMES: Final = 32
CHANGE_FRAMES: Final = 48
CHANGE_LEVEL: Final = 0.035
"""Mean absolute difference of 16 x 16 thumbnails, 0 to 1, from which two frames count as an abrupt change."""
MOST_FRAMES: Final = 240
"""Of one clip. The longest of a shipped model has 193."""
MAX_FRAMES: Final = 20_000
KEPT_SIDE_PX: Final = 336
"""Frames are kept at most this large: as large as the largest input of a CLIP in use."""
PICTURE_FORMATS: Final = ("WEBP", "PNG", "JPEG")
"""Pillow would try dozens, and one of them starts another program."""

DECODED_WITHIN_S: Final = 300.0
"""Both passes over a clip. The longest clip of the largest model takes a few seconds on one core."""
_PACKETS_A_FRAME: Final = 8
_BLOCK_PX: Final = 64
"""Decoders pad a picture to whole blocks."""


class ClipUnreadable(ValueError):
    """What can't be looked at whole: it doesn't decode to its end, is too long, or holds more than one track."""


@dataclass(frozen=True, kw_only=True)
class SampledFrame:
    """One frame of a clip, and when it is shown."""

    image: Image.Image
    at_s: float
    index: int


@dataclass(frozen=True, kw_only=True)
class ClipShape:
    """What was ordered, in pixels and frames, and the (width, height) of the pictures beside the clip."""

    width: int
    height: int
    num_frames: int
    thumbnail: tuple[int, int]
    spritesheet: tuple[int, int]


def sample_frames(clip: IO[bytes], shape: ClipShape | None = None) -> tuple[SampledFrame, ...]:
    """The frames of an mp4 that are to be judged, in order. Raises ClipUnreadable.

    Two passes over the file: a first one at thumbnail size finds the changes, a second keeps the chosen frames. A clip
    that is not of `shape`, or takes longer than `DECODED_WITHIN_S`, is given up there: raises NotAsOrdered.
    """
    until_s = time.monotonic() + DECODED_WITHIN_S
    try:
        chosen = set(choose([_thumbnail(frame) for frame in _frames(clip, shape, until_s)]))
        if not chosen:
            raise ClipUnreadable("the clip has no frames")
        if len(chosen) > MOST_FRAMES:
            raise ClipUnreadable("the clip is long and changes too often to be judged by some of its frames")
        kept, began_s = [], None
        for index, frame in enumerate(_frames(clip, shape, until_s)):
            began_s = float(frame.time or 0.0) if began_s is None else began_s
            if index in chosen:
                image = Image.fromarray(frame.reformat(format="rgb24", threads=1).to_ndarray())
                image.thumbnail((KEPT_SIDE_PX, KEPT_SIDE_PX), Image.Resampling.BOX)
                kept.append(SampledFrame(image=image, at_s=float(frame.time or 0.0) - began_s, index=index))
    except (av.FFmpegError, OSError, IndexError) as error:
        if getattr(error, "errno", None) == errno.ENOMEM:
            raise MemoryError from error
        raise ClipUnreadable(f"the clip can't be decoded: {type(error).__name__}") from error
    return tuple(kept)


def choose(thumbnails: Sequence[npt.NDArray[np.float32]]) -> tuple[int, ...]:
    """Indices of the frames to judge, given small pictures (height, width, 3) in [0, 1] of all of them."""
    count = len(thumbnails)
    if count <= ALL_UP_TO:
        return tuple(range(count))
    grid = {round(index) for index in np.linspace(0, count - 1, GRID_FRAMES)}
    change = [float(np.abs(thumbnails[i] - thumbnails[i - 1]).mean()) for i in range(1, count)]
    abrupt = [i for i, level in enumerate(change) if level >= CHANGE_LEVEL]
    if len(abrupt) > CHANGE_FRAMES // 2:
        return tuple(range(count))
    # change[i] lies between frames i and i + 1: the frame after it, and the one after that, show what came.
    around = [frame for i in abrupt for frame in (i + 1, min(i + 2, count - 1))]
    return tuple(sorted(grid.union(around)))


def split_sheet(sheet: Image.Image, columns: int, rows: int) -> Iterator[Image.Image]:
    """The pictures of a spritesheet, row by row."""
    width, height = sheet.width // columns, sheet.height // rows
    for row in range(rows):
        for column in range(columns):
            left, top = column * width, row * height
            yield sheet.crop((left, top, left + width, top + height))


def open_image(source: Path | str | bytes | IO[bytes], size: tuple[int, int] | None = None) -> Image.Image:
    """A single picture (a thumbnail, an upload that was cleaned) as RGB pixels. Raises ClipUnreadable for an animation,
    of which only the first picture would be looked at, and NotAsOrdered, before decoding, for one not of `size`.
    """
    file = io.BytesIO(source) if isinstance(source, bytes) else source
    with Image.open(file, formats=PICTURE_FORMATS) as image:
        if size is not None and image.size != size:
            raise NotAsOrdered(f"a picture of {image.size}, reported as {size}")
        if getattr(image, "n_frames", 1) != 1:
            raise ClipUnreadable("a picture that moves")
        return image.convert("RGB")


class _Nameless:
    """A file as the decoder takes it: what is only a descriptor has a number for a name, which it refuses."""

    def __init__(self, file: IO[bytes]) -> None:
        self.read, self.seek, self.tell = file.read, file.seek, file.tell


def _frames(clip: IO[bytes], shape: ClipShape | None, until_s: float) -> Iterator[av.VideoFrame]:
    """All frames of a clip that is one picture track and nothing else. Raises ClipUnreadable and NotAsOrdered."""
    most = MAX_FRAMES if shape is None else shape.num_frames
    index = 0
    clip.seek(0)
    # Told what it is: left to guess, it also reads lists of other files, here or elsewhere. And every picture in the
    # file counts, also those that an edit list has players leave out: not each player asks it.
    with av.open(_Nameless(clip), "r", format="mp4", options={"ignore_editlist": "1"}) as container:
        if len(container.streams) != 1 or len(container.streams.video) != 1:
            raise ClipUnreadable(
                f"the clip has {len(container.streams)} tracks; one, of pictures, is looked at"
            )
        stream = container.streams.video[0]
        # One thread here and below: a process with limits may start none.
        stream.codec_context.thread_count = 1
        if shape is not None:
            _check_size(stream.codec_context.width, stream.codec_context.height, shape)
            # A size that changes in mid-stream is refused before its pictures are allocated.
            padded = (-(-side // _BLOCK_PX) * _BLOCK_PX for side in (shape.width, shape.height))
            stream.codec_context.options = {"max_pixels": str(math.prod(padded))}
        for number, packet in enumerate(container.demux(stream)):
            if time.monotonic() > until_s or number > _PACKETS_A_FRAME * (most + 1):
                raise NotAsOrdered(f"the clip was not decoded after {index} frames of {most}")
            for frame in packet.decode():
                if index >= most and shape is None:
                    raise ClipUnreadable(f"the clip has more than {MAX_FRAMES} frames")
                if index >= most:
                    raise NotAsOrdered(f"the clip has more than {most} frames")
                if shape is not None:
                    _check_size(frame.width, frame.height, shape)
                yield frame
                index += 1
    if shape is not None and index != most:
        raise NotAsOrdered(f"the clip has {index} frames of {most}")


def _check_size(width: int, height: int, shape: ClipShape) -> None:
    if (width, height) != (shape.width, shape.height):
        raise NotAsOrdered(f"a clip of {width}x{height}; {shape.width}x{shape.height} was ordered")


def _thumbnail(frame: av.VideoFrame) -> npt.NDArray[np.float32]:
    small = frame.reformat(width=16, height=16, format="rgb24", threads=1).to_ndarray()
    return small.astype(np.float32) / 255.0
