"""What a worker makes of frames and of creators' images."""

import io
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from backend.contracts import PREVIEW_SIDE_PX
from gpu_worker.encode import encode_clip
from gpu_worker.images import BadImageError, fit_image
from gpu_worker.preview import encode_preview

RED, BLUE = (230, 30, 30), (40, 80, 230)


def moving_square(count: int = 9, width: int = 96, height: int = 64) -> np.ndarray:
    frames = np.full((count, height, width, 3), RED, np.uint8)
    for index, frame in enumerate(frames):
        frame[16:48, 4 * index : 4 * index + 32] = BLUE
    return frames


def test_a_clip_keeps_its_frames_and_colours(tmp_path: Path) -> None:
    frames = moving_square()
    clip = encode_clip(frames, 8, tmp_path)
    with av.open(str(clip.video.path)) as container:
        decoded = np.array([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
    assert decoded.shape == frames.shape
    assert np.abs(decoded[:, 2:10, 2:90].astype(int) - RED).max() < 12
    assert np.abs(decoded[4, 30, 30].astype(int) - BLUE).max() < 12
    assert (clip.video.num_frames, clip.video.fps, clip.video.duration_s) == (9, 8.0, 9 / 8)


@pytest.mark.parametrize(("count", "columns", "rows"), [(1, 1, 1), (4, 4, 1), (9, 5, 2), (200, 5, 5)])
def test_a_spritesheet_is_a_grid_of_its_columns(tmp_path: Path, count: int, columns: int, rows: int) -> None:
    sheet = encode_clip(moving_square(1).repeat(count, 0), 8, tmp_path).spritesheet
    assert (sheet.columns, sheet.width, sheet.height) == (columns, columns * 96, rows * 64)
    assert sheet.num_frames == min(count, 25)


def test_a_large_clip_gets_small_pictures(tmp_path: Path) -> None:
    clip = encode_clip(np.zeros((2, 704, 1216, 3), np.uint8), 24, tmp_path)
    assert (clip.video.width, clip.video.height) == (1216, 704)
    assert max(clip.thumbnail.width, clip.thumbnail.height) == 768
    assert clip.spritesheet.width == 2 * 192


@pytest.mark.parametrize("size", [(704, 1216), (64, 64), (8, 12)])
def test_previews_are_too_small_to_show_a_form(size: tuple[int, int]) -> None:
    # Each frame has a colour of its own: equal frames are stored once.
    colours = np.linspace(0, 255, 20).astype(np.uint8)[:, None, None, None]
    data = encode_preview(np.broadcast_to(colours, (20, *size, 3)).copy())
    with Image.open(io.BytesIO(data)) as picture:
        assert picture.format == "WEBP"
        assert max(picture.size) == PREVIEW_SIDE_PX
        assert 1 < getattr(picture, "n_frames", 1) <= 8


def picture(size: tuple[int, int], mode: str = "RGB", format_: str = "PNG", **options: object) -> bytes:
    out = io.BytesIO()
    Image.new(mode, size, RED if mode == "RGB" else (*RED, 0)).save(out, format=format_, **options)
    return out.getvalue()


@pytest.mark.parametrize("size", [(10, 300), (300, 10), (64, 32)])
def test_an_image_fills_the_clip(size: tuple[int, int]) -> None:
    pixels = fit_image(picture(size), 64, 32)
    assert pixels.shape == (32, 64, 3)
    assert (pixels == RED).all()


def test_an_image_is_turned_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    lying = Image.new("RGB", (64, 32), BLUE)
    lying.paste(RED, (0, 0, 32, 32))
    out = io.BytesIO()
    lying.save(out, format="JPEG", exif=exif, quality=95)
    upright = fit_image(out.getvalue(), 32, 64).astype(int)
    assert np.abs(upright[8, 16] - RED).max() < 30
    assert np.abs(upright[56, 16] - BLUE).max() < 30


def test_transparency_becomes_white() -> None:
    assert (fit_image(picture((20, 20), "RGBA"), 16, 16) == 255).all()


@pytest.mark.parametrize("data", [b"", b"GIF89a" + b"\0" * 50, picture((90, 90))[:60], b"<svg/>"])
def test_what_is_no_picture_is_refused(data: bytes) -> None:
    with pytest.raises(BadImageError):
        fit_image(data, 64, 64)


def test_a_gif_is_not_among_the_formats() -> None:
    with pytest.raises(BadImageError):
        fit_image(picture((9, 9), format_="GIF"), 64, 64)


def test_a_bomb_is_refused_before_it_is_decoded() -> None:
    out = io.BytesIO()
    Image.new("1", (12_000, 12_000)).save(out, format="PNG")
    with pytest.raises(BadImageError):
        fit_image(out.getvalue(), 64, 64)
