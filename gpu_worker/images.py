"""Conditioning images: from a creator's bytes to pixels of the clip's own size, or a plain refusal."""

import io
import warnings

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

MAX_IMAGE_PIXELS = 64_000_000
_FORMATS = ("JPEG", "PNG", "WEBP")


class BadImageError(Exception):
    """The bytes are no picture that can condition a clip."""


def fit_image(data: bytes, width: int, height: int) -> npt.NDArray[np.uint8]:
    """Decode, turn upright, and crop to the size: RGB [height, width, 3]. Raises `BadImageError`."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data), formats=_FORMATS) as picture:
                if picture.width * picture.height > MAX_IMAGE_PIXELS:
                    raise BadImageError(f"the image has more than {MAX_IMAGE_PIXELS} pixels")
                upright = ImageOps.exif_transpose(picture)
                flat = _without_transparency(upright)
                return np.asarray(ImageOps.fit(flat, (width, height), Image.Resampling.LANCZOS))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise BadImageError(
            f"the image can't be read as JPEG, PNG or WebP: {type(error).__name__}"
        ) from error


def _without_transparency(picture: Image.Image) -> Image.Image:
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    coloured = picture.convert("RGBA")
    ground = Image.new("RGBA", coloured.size, "white")
    return Image.alpha_composite(ground, coloured).convert("RGB")
