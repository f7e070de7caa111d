import io
import struct
import zlib

import pytest
from PIL import Image

from moderation.images import ImageFormat, ImageProblem, ImageRefused, clean_image, sniff


def encoded(image: Image.Image, name: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, name, **options)  # type: ignore[arg-type]
    return out.getvalue()


def refused(data: bytes, **options: object) -> ImageRefused:
    with pytest.raises(ImageRefused) as caught:
        clean_image(data, field="input_reference", **options)  # type: ignore[arg-type]
    assert caught.value.field == "input_reference"
    return caught.value


PICTURE = Image.new("RGB", (40, 20), (200, 30, 30))


@pytest.mark.parametrize("name", ["PNG", "JPEG", "WEBP"])
def test_an_accepted_image_comes_back_as_clean_png(name: str) -> None:
    clean = clean_image(encoded(PICTURE, name))
    assert (clean.width_px, clean.height_px) == (40, 20)
    assert sniff(clean.data) is ImageFormat.PNG
    assert clean.source_format == name.lower()


def test_orientation_is_applied_and_metadata_is_gone() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    exif[0x010E] = "secret place"
    clean = clean_image(encoded(PICTURE, "JPEG", exif=exif.tobytes()) + b"trailing secret place")
    assert (clean.width_px, clean.height_px) == (20, 40)
    assert b"secret place" not in clean.data
    assert not Image.open(io.BytesIO(clean.data)).getexif()


def test_transparency_lies_on_white() -> None:
    clean = clean_image(encoded(Image.new("RGBA", (16, 16), (0, 0, 0, 0)), "PNG"))
    assert Image.open(io.BytesIO(clean.data)).getpixel((1, 1)) == (255, 255, 255)


def test_what_is_no_image_is_refused_with_the_remedy() -> None:
    error = refused(b"%PDF-1.4 hello")
    assert error.problem is ImageProblem.UNKNOWN_FORMAT
    assert "PNG, JPEG or WebP" in str(error)
    assert refused(b"").problem is ImageProblem.EMPTY
    assert refused(encoded(PICTURE, "GIF")).problem is ImageProblem.UNKNOWN_FORMAT


def test_a_file_that_is_not_what_it_says_is_refused() -> None:
    assert refused(encoded(PICTURE, "PNG"), declared_type="image/jpeg").problem is ImageProblem.WRONG_TYPE


def test_a_large_file_is_refused_before_it_is_decoded() -> None:
    assert refused(encoded(PICTURE, "PNG"), max_bytes=20).problem is ImageProblem.TOO_LARGE


def test_a_bomb_is_refused_by_its_header() -> None:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 10**6))
    assert refused(bomb + chunk(b"IEND", b"")).problem is ImageProblem.TOO_MANY_PIXELS


def test_a_cut_off_image_is_refused() -> None:
    noise = Image.effect_noise((64, 64), 80)
    assert refused(encoded(noise, "JPEG")[:600]).problem is ImageProblem.BROKEN
    assert refused(encoded(noise, "PNG")[:800]).problem is ImageProblem.BROKEN


def test_a_decoder_that_takes_too_long_is_stopped() -> None:
    assert refused(encoded(PICTURE, "PNG"), timeout_s=0.001).problem is ImageProblem.TOO_COSTLY
