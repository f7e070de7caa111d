import io
import struct
import zlib

import pytest
from PIL import Image

from moderation.images import (
    MAX_SCANS,
    ImageFormat,
    ImageProblem,
    ImageRefused,
    clean_image,
    count_scans,
    sniff,
    too_large,
)


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
def test_an_accepted_image_comes_back_in_its_format(name: str) -> None:
    clean = clean_image(encoded(PICTURE, name))
    assert (clean.width_px, clean.height_px) == (40, 20)
    assert sniff(clean.data) == clean.format == name.lower()
    assert clean.media_type == f"image/{name.lower()}"


def test_lossless_webp_stays_lossless() -> None:
    noise = Image.effect_noise((40, 20), 80).convert("RGB")
    clean = clean_image(encoded(noise, "WEBP", lossless=True))
    assert Image.open(io.BytesIO(clean.data)).convert("RGB").tobytes() == noise.tobytes()


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


@pytest.mark.parametrize("declared", ["image/jpeg", "text/html", "image/svg+xml", "video/mp4", "x" * 1000])
def test_a_file_that_is_not_what_it_says_is_refused(declared: str) -> None:
    error = refused(encoded(PICTURE, "PNG"), declared_type=declared)
    assert error.problem is ImageProblem.WRONG_TYPE
    assert len(str(error)) < 300


@pytest.mark.parametrize("declared", [None, "", "application/octet-stream", "image/png", "Image/PNG; q=1"])
def test_a_type_that_says_nothing_or_the_truth_is_taken(declared: str | None) -> None:
    assert clean_image(encoded(PICTURE, "PNG"), declared_type=declared).format is ImageFormat.PNG


def test_a_large_file_is_refused_before_it_is_decoded_and_never_said_to_have_the_limit_itself() -> None:
    assert refused(encoded(PICTURE, "PNG"), max_bytes=20).problem is ImageProblem.TOO_LARGE
    assert too_large(20 * 2**20 + 1).startswith("The file has 20.1 MB and 20 MB is the limit")
    assert too_large(21_000_000).startswith("The file has 20.1 MB")


@pytest.mark.parametrize("size", [(16, 12_000), (12_000, 16), (16, 129)])
def test_a_strip_is_refused_with_the_limit(size: tuple[int, int]) -> None:
    error = refused(encoded(Image.new("RGB", size), "PNG"))
    assert error.problem is ImageProblem.TOO_LONG
    assert "8 times" in str(error)


def test_the_longest_that_is_taken_keeps_its_shape() -> None:
    clean = clean_image(encoded(Image.new("RGB", (8_000, 1_000)), "PNG"))
    assert (clean.width_px, clean.height_px) == (2048, 256)


def test_a_bomb_is_refused_by_its_header() -> None:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 10**6))
    assert refused(bomb + chunk(b"IEND", b"")).problem is ImageProblem.TOO_MANY_PIXELS


def _png(mode: str, rows: int, *, interlaced: bool = False) -> bytes:
    """A PNG of 30 x 2000 pixels by its header, whose data are whole in themselves and hold only some of the rows."""
    depth, colour, channels = {
        "L": (8, 0, 1),
        "1": (1, 0, 1),
        "RGB": (8, 2, 3),
        "P": (4, 3, 1),
        "RGBA": (16, 6, 4),
    }[mode]

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    width, height = 300, 2000
    row = 1 + (width * depth * channels + 7) // 8
    data = zlib.compress(b"\0" * (row * rows))
    half = len(data) // 2
    palette = chunk(b"PLTE", bytes(48)) if mode == "P" else b""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + palette
        + chunk(b"IDAT", data[:half]) + chunk(b"IDAT", data[half:]) + chunk(b"IEND", b"")
    )  # fmt: skip


@pytest.mark.parametrize("mode", ["L", "1", "RGB", "P", "RGBA"])
def test_a_png_with_fewer_rows_than_it_says_is_refused(mode: str) -> None:
    assert clean_image(_png(mode, 2000)).height_px == 2000
    for rows in (50, 1999):
        assert refused(_png(mode, rows)).problem is ImageProblem.BROKEN


def test_an_interlaced_png_is_taken_whole_and_refused_cut() -> None:
    # Each row of each pass begins with a byte of its own: somewhat more data than a plain image has.
    assert refused(_png("RGB", 1900, interlaced=True)).problem is ImageProblem.BROKEN
    assert clean_image(_png("RGB", 2010, interlaced=True)).height_px == 2000


def test_a_cut_off_image_is_refused() -> None:
    noise = Image.effect_noise((64, 64), 80)
    assert refused(encoded(noise, "JPEG")[:600]).problem is ImageProblem.BROKEN
    assert refused(encoded(noise, "PNG")[:800]).problem is ImageProblem.BROKEN


def test_a_decoder_that_takes_too_long_is_stopped() -> None:
    assert refused(encoded(PICTURE, "PNG"), timeout_s=0.001).problem is ImageProblem.TOO_COSTLY


def with_scans(count: int, *, hidden_behind: bytes = b"") -> bytes:
    """A progressive JPEG whose last scan is there `count` times more."""
    jpeg = encoded(PICTURE, "JPEG", progressive=True)
    last = jpeg[jpeg.rfind(b"\xff\xda") : -2]
    return jpeg[:-2] + (hidden_behind + last) * count + b"\xff\xd9"


@pytest.mark.parametrize("hidden_behind", [b"", b"\xff\x01", b"\xff\xff", b"\xff\xfe\x00\x02"])
def test_a_jpeg_of_many_scans_is_refused_before_it_is_decoded(
    monkeypatch: pytest.MonkeyPatch, hidden_behind: bytes
) -> None:
    monkeypatch.setattr("moderation.images._in_limited_process", lambda *_: pytest.fail("decoded"))
    refusal = refused(with_scans(MAX_SCANS, hidden_behind=hidden_behind))
    assert refusal.problem is ImageProblem.TOO_COSTLY


def test_a_jpeg_of_the_usual_scans_is_taken() -> None:
    assert count_scans(encoded(PICTURE, "JPEG")) == 1
    assert 5 < count_scans(encoded(PICTURE, "JPEG", progressive=True)) < 20
    assert clean_image(with_scans(3)).width_px == 40


def test_what_is_in_or_behind_a_jpeg_is_no_scan_of_it() -> None:
    like_scans = b"\0\0" + b"\xff\xda\x00\x02" * (MAX_SCANS + 1)
    video = encoded(PICTURE, "JPEG") + like_scans
    thumbnail = encoded(PICTURE, "JPEG", comment=like_scans)
    assert clean_image(video).width_px == clean_image(thumbnail).width_px == 40
