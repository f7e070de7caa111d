"""Uploaded images: checked, decoded in a process with limits, turned upright, stripped, and written anew.

What comes back was drawn by our own encoder from pixels alone: no metadata, no trailing bytes, no polyglots.
"""

import base64
import io
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

MAX_BYTES: Final = 20 * 2**20
MAX_PIXELS: Final = 24_000_000
MAX_SIDE_PX: Final = 12_000
MIN_SIDE_PX: Final = 16
KEPT_SIDE_PX: Final = 2048
"""Models are conditioned on less; what is larger is made smaller."""
MEMORY_LIMIT_BYTES: Final = 1024 * 2**20
CPU_LIMIT_S: Final = 10
TIMEOUT_S: Final = 20.0


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
    """An image made anew from its pixels: lossless WebP or PNG bytes without metadata."""

    data: bytes
    media_type: str
    width_px: int
    height_px: int
    source_format: ImageFormat


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

    `declared_type` is the media type the client gave; where it names another format the file is refused.
    Decoding runs in a process of its own with limits on memory and CPU time. Raises ImageRefused.
    """
    if not data:
        raise ImageRefused(
            ImageProblem.EMPTY, "The file is empty: choose a PNG, JPEG or WebP image.", field=field
        )
    if len(data) > max_bytes:
        raise ImageRefused(
            ImageProblem.TOO_LARGE,
            f"The file has {len(data) / 2**20:.1f} MB and {max_bytes / 2**20:.0f} MB is the limit: "
            "save it smaller or as JPEG.",
            field=field,
        )
    found = sniff(data)
    if found is None:
        raise ImageRefused(
            ImageProblem.UNKNOWN_FORMAT,
            "The file isn't a PNG, JPEG or WebP image: convert it to one of these.",
            field=field,
        )
    declared = (declared_type or "").split(";")[0].strip().lower().replace("image/jpg", "image/jpeg")
    if declared.startswith("image/") and declared != f"image/{found}":
        raise ImageRefused(
            ImageProblem.WRONG_TYPE,
            f"The file says {declared} but holds a {found} image: give it its right type and name.",
            field=field,
        )
    answer = _in_limited_process(data, found, max_pixels, timeout_s, field)
    if "problem" in answer:
        raise ImageRefused(ImageProblem(answer["problem"]), answer["message"], field=field)
    return CleanImage(
        data=base64.b64decode(answer["data"]),
        media_type="image/png",
        width_px=int(answer["width_px"]),
        height_px=int(answer["height_px"]),
        source_format=found,
    )


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
            if getattr(image, "n_frames", 1) > 1:
                image.seek(0)
            image.load()
            upright = ImageOps.exif_transpose(image)
            if upright.mode in ("RGBA", "LA", "PA") or "transparency" in upright.info:
                layered = upright.convert("RGBA")
                ground = Image.new("RGBA", layered.size, (255, 255, 255, 255))
                return Image.alpha_composite(ground, layered).convert("RGB")
            return upright.convert("RGB")
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, EOFError) as error:
        if isinstance(error, ImageRefused):
            raise
        raise ImageRefused(
            ImageProblem.BROKEN,
            "The image can't be decoded: it is broken or cut off. Save it again and retry.",
            field="image",
        ) from error


def _in_limited_process(
    data: bytes, expected: ImageFormat, max_pixels: int, timeout_s: float, field: str
) -> dict[str, str]:
    costly = ImageRefused(
        ImageProblem.TOO_COSTLY,
        "Decoding the image takes more memory or time than is allowed: save it smaller and retry.",
        field=field,
    )
    try:
        done = subprocess.run(
            [
                sys.executable,
                "-I",
                "-c",
                _CHILD,
                os.path.dirname(os.path.dirname(__file__)),
                expected,
                str(max_pixels),
            ],
            input=data,
            capture_output=True,
            timeout=timeout_s,
            env={"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PATH": os.environ.get("PATH", "")},
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise costly from None
    if done.returncode != 0:
        raise costly
    try:
        answer: dict[str, str] = json.loads(done.stdout)
    except ValueError:
        raise costly from None
    return answer


_CHILD = "import sys; sys.path.insert(0, sys.argv[1]); from moderation.images import child_main; child_main()"


def child_main() -> None:
    """The limited process: reads bytes from stdin, answers JSON on stdout."""
    _limit_this_process()
    data = sys.stdin.buffer.read()
    try:
        image = decode_and_strip(data, ImageFormat(sys.argv[2]), int(sys.argv[3]))
        image.thumbnail((KEPT_SIDE_PX, KEPT_SIDE_PX), Image.Resampling.LANCZOS)
        out = io.BytesIO()
        image.save(out, "PNG", compress_level=3)
        answer = {
            "data": base64.b64encode(out.getvalue()).decode(),
            "width_px": str(image.width),
            "height_px": str(image.height),
        }
    except ImageRefused as refused:
        answer = {"problem": refused.problem.value, "message": str(refused)}
    sys.stdout.write(json.dumps(answer))


def _limit_this_process() -> None:
    try:
        import resource  # absent on Windows, where the timeout alone holds
    except ImportError:
        return
    for kind, limit in (
        (resource.RLIMIT_CPU, CPU_LIMIT_S),
        (resource.RLIMIT_AS, MEMORY_LIMIT_BYTES),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, 64),
        (resource.RLIMIT_CORE, 0),
    ):
        try:
            resource.setrlimit(kind, (limit, limit))
        except (ValueError, OSError):
            continue  # macOS refuses some of them; the others and the timeout hold
