"""Uploaded images: checked, decoded in a process with limits, turned upright, stripped, and written anew.

What comes back was drawn by our own encoder from pixels alone: no metadata, no trailing bytes, no polyglots. It keeps
its format: a photograph of 5 MB as JPEG has 13 MB as PNG.
"""

import io
import math
import re
import struct
import tempfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import IO, Any, Final

from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from moderation.limited_process import LimitedProcessEnded, LimitedProcesses, Limits, NoLimitedProcess

MAX_BYTES: Final = 20 * 2**20
MAX_PIXELS: Final = 24_000_000
MAX_SIDE_PX: Final = 12_000
MIN_SIDE_PX: Final = 16
KEPT_SIDE_PX: Final = 2048
"""Models are conditioned on less; what is larger is made smaller."""
MAX_ASPECT: Final = 8
"""The longer side to the shorter one: 16 x 12000 pixels would be kept as 3 x 2048, and shown as nothing."""
QUALITY: Final = 92
MEMORY_LIMIT_BYTES: Final = 1024 * 2**20
CPU_LIMIT_S: Final = 10
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
MAX_ANSWER_BYTES: Final = 32 * 2**20
"""Of an image made anew: 2048 x 2048 pixels of noise have 12 MB as PNG."""
TIMEOUT_S: Final = 20.0
MAX_SCANS: Final = 100
"""Of a progressive JPEG, whose every scan is a pass over all pixels; encoders write about ten."""
# In a scan's data, FF is followed by 00, by a restart, or by FF: a marker is none of these.
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_START_OF_SCAN, _END = 0xDA, 0xD9
_WITHOUT_LENGTH = frozenset({0x01, 0xD8})


class ImageFormat(StrEnum):
    """The formats that are accepted."""

    PNG = "png"
    JPEG = "jpeg"
    WEBP = "webp"


class ImageProblem(StrEnum):
    """Why an image was refused; the code of the error."""

    EMPTY = "image_empty"
    TOO_LARGE = "image_too_large"
    UNKNOWN_FORMAT = "image_format_unknown"
    WRONG_TYPE = "image_type_mismatch"
    TOO_MANY_PIXELS = "image_too_many_pixels"
    TOO_SMALL = "image_too_small"
    TOO_LONG = "image_too_long"
    BROKEN = "image_broken"
    TOO_COSTLY = "image_too_costly"


class ImageRefused(ValueError):
    """An upload that isn't taken. `field` names where it came in; the message says the remedy."""

    def __init__(self, problem: ImageProblem, message: str, *, field: str) -> None:
        super().__init__(message)
        self.problem = problem
        self.field = field


@dataclass(frozen=True, kw_only=True)
class CleanImage:
    """An image made anew from its pixels, without metadata, in the format that it came in."""

    data: bytes
    media_type: str
    width_px: int
    height_px: int
    format: ImageFormat


def sniff(data: bytes) -> ImageFormat | None:
    """What the first bytes say a file is; None for anything that isn't accepted."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return ImageFormat.PNG
    if data.startswith(b"\xff\xd8\xff"):
        return ImageFormat.JPEG
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return ImageFormat.WEBP
    return None


def clean_image(
    data: bytes,
    *,
    field: str = "image",
    declared_type: str | None = None,
    max_bytes: int = MAX_BYTES,
    max_pixels: int = MAX_PIXELS,
    timeout_s: float = TIMEOUT_S,
) -> CleanImage:
    """Check and re-encode an upload. Takes up to `timeout_s`; call it in a thread.

    `declared_type` is the media type the client gave. The bytes decide what it is; a type that names something else
    is refused, for somebody is mistaken. None, an empty one and application/octet-stream say nothing.
    Decoding runs in a process of its own with limits on memory and CPU time. Raises ImageRefused.
    """
    found = check_image(data, field=field, declared_type=declared_type, max_bytes=max_bytes)
    answer, made = _in_limited_process(data, found, max_pixels, timeout_s, field)
    if "problem" in answer:
        raise ImageRefused(ImageProblem(answer["problem"]), answer["message"], field=field)
    return CleanImage(
        data=made,
        media_type=f"image/{found}",
        width_px=int(answer["width_px"]),
        height_px=int(answer["height_px"]),
        format=found,
    )


def check_image(
    data: bytes, *, field: str = "image", declared_type: str | None = None, max_bytes: int = MAX_BYTES
) -> ImageFormat:
    """What an upload is, as far as it can be seen without decoding it. Raises ImageRefused."""
    if not data:
        raise ImageRefused(
            ImageProblem.EMPTY, "The file is empty: choose a PNG, JPEG or WebP image.", field=field
        )
    if len(data) > max_bytes:
        raise ImageRefused(ImageProblem.TOO_LARGE, too_large(len(data), max_bytes=max_bytes), field=field)
    found = sniff(data)
    if found is None:
        raise ImageRefused(
            ImageProblem.UNKNOWN_FORMAT,
            "The file isn't a PNG, JPEG or WebP image: convert it to one of these.",
            field=field,
        )
    declared = (declared_type or "").split(";")[0].strip().lower().replace("image/jpg", "image/jpeg")
    if declared not in ("", "application/octet-stream", f"image/{found}"):
        raise ImageRefused(
            ImageProblem.WRONG_TYPE,
            f"The file says {declared[:100]} but holds a {found} image: give it its right type and name.",
            field=field,
        )
    if found is ImageFormat.JPEG and count_scans(data) > MAX_SCANS:
        raise _too_costly(field)
    return found


def count_scans(jpeg: bytes) -> int:
    """How many scans a JPEG has, up to its end marker: what is in or behind its segments doesn't count."""
    at, scans = 0, 0
    while (marker := _MARKER.search(jpeg, at)) is not None:
        kind, at = jpeg[marker.end() - 1], marker.end()
        if kind == _END:
            break
        scans += kind == _START_OF_SCAN
        if kind not in _WITHOUT_LENGTH:
            at += int.from_bytes(jpeg[at : at + 2])
    return scans


def too_large(size_bytes: int, *, max_bytes: int = MAX_BYTES) -> str:
    """What is said of a file past the limit; its size is rounded up, so that it never reads as the limit itself."""
    size_mb = math.ceil(size_bytes / 2**20 * 10) / 10
    return f"The file has {size_mb:.1f} MB and {max_bytes / 2**20:.0f} MB is the limit: save it smaller or as JPEG."


def decode_and_strip(data: bytes, expected: ImageFormat, max_pixels: int) -> Image.Image:
    """Decode upright RGB pixels without metadata. Runs in the limited process; raises ImageRefused."""
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    Image.MAX_IMAGE_PIXELS = None
    try:
        with Image.open(io.BytesIO(data), formats=[expected.upper()]) as image:
            width, height = image.size
            if width * height > max_pixels or max(width, height) > MAX_SIDE_PX:
                raise ImageRefused(
                    ImageProblem.TOO_MANY_PIXELS,
                    f"The image has {width} x {height} pixels and {max_pixels / 1e6:.0f} million is the limit: "
                    "make it smaller.",
                    field="image",
                )
            if min(width, height) < MIN_SIDE_PX:
                raise ImageRefused(
                    ImageProblem.TOO_SMALL,
                    f"The image has {width} x {height} pixels: each side needs at least {MIN_SIDE_PX}.",
                    field="image",
                )
            if max(width, height) > MAX_ASPECT * min(width, height):
                raise ImageRefused(
                    ImageProblem.TOO_LONG,
                    f"The image has {width} x {height} pixels: the longer side may be {MAX_ASPECT} times the shorter "
                    "one. Crop it.",
                    field="image",
                )
            if getattr(image, "n_frames", 1) > 1:
                image.seek(0)
            image.load()
            if expected is ImageFormat.PNG and not _has_every_row(data):
                raise EOFError
            upright = ImageOps.exif_transpose(image)
            if upright.mode in ("RGBA", "LA", "PA") or "transparency" in upright.info:
                layered = upright.convert("RGBA")
                ground = Image.new("RGBA", layered.size, (255, 255, 255, 255))
                return Image.alpha_composite(ground, layered).convert("RGB")
            return upright.convert("RGB")
    except (
        UnidentifiedImageError,
        OSError,
        SyntaxError,
        ValueError,
        EOFError,
        KeyError,
        zlib.error,
        struct.error,
    ) as error:
        if isinstance(error, ImageRefused):
            raise
        raise ImageRefused(
            ImageProblem.BROKEN,
            "The image can't be decoded: it is broken or cut off. Save it again and retry.",
            field="image",
        ) from error


def _has_every_row(png: bytes) -> bool:
    """Whether a PNG's data are as long as its header says: Pillow shows the rows that are missing as black."""
    width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", png[16:29])
    bits = depth * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    # Each pass of an interlaced image is one of its own: where it begins, and how far apart its pixels are.
    passes = _ADAM7 if interlaced else ((0, 0, 1, 1),)
    expected = 0
    for x, y, step_x, step_y in passes:
        columns, rows = -(-(width - x) // step_x), -(-(height - y) // step_y)
        if columns > 0 and rows > 0:
            expected += rows * (1 + (columns * bits + 7) // 8)
    inflating = zlib.decompressobj()
    at, found = 8, 0
    while at + 8 <= len(png) and found < expected:
        size, kind = struct.unpack(">I4s", png[at : at + 8])
        if kind == b"IDAT":
            rest = png[at + 8 : at + 8 + size]
            while rest and found < expected:
                found += len(inflating.decompress(rest, 2**20))
                rest = inflating.unconsumed_tail
        at += 12 + size
    return found >= expected


def _too_costly(field: str) -> ImageRefused:
    return ImageRefused(
        ImageProblem.TOO_COSTLY,
        "Decoding the image takes more memory or time than is allowed: save it smaller and retry.",
        field=field,
    )


def _in_limited_process(
    data: bytes, expected: ImageFormat, max_pixels: int, timeout_s: float, field: str
) -> tuple[dict[str, str], bytes]:
    limits = Limits(
        wall_s=timeout_s, cpu_s=CPU_LIMIT_S, memory_bytes=MEMORY_LIMIT_BYTES, answer_bytes=MAX_ANSWER_BYTES
    )
    question = {"format": expected, "max_pixels": max_pixels}
    try:
        with (
            tempfile.TemporaryFile() as file,
            LimitedProcesses("moderation.images:clean_here", limits) as one,
        ):
            file.write(data)
            file.seek(0)
            return one.ask(question, [file])
    except (LimitedProcessEnded, NoLimitedProcess):
        raise _too_costly(field) from None


def clean_here(
    question: Mapping[str, Any], files: Sequence[IO[bytes]]
) -> tuple[Mapping[str, object], Iterable[bytes]]:
    """The task of the limited process: a file's pixels, written anew."""
    data, found = files[0].read(), ImageFormat(question["format"])
    try:
        image = decode_and_strip(data, found, question["max_pixels"])
    except ImageRefused as refused:
        return {"problem": refused.problem, "message": str(refused)}, ()
    image.thumbnail((KEPT_SIDE_PX, KEPT_SIDE_PX), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    match found:
        case ImageFormat.PNG:
            image.save(out, "PNG", compress_level=3)
        case ImageFormat.JPEG:
            image.save(out, "JPEG", quality=QUALITY, subsampling=0)
        case ImageFormat.WEBP:
            image.save(out, "WEBP", quality=QUALITY, lossless=data[12:16] == b"VP8L")
    return {"width_px": image.width, "height_px": image.height}, (out.getvalue(),)
