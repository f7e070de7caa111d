"""Clips for the fake studio: the mini model's world, drawn instead of generated."""

import math
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from PIL import Image, ImageDraw

COLOURS = {
    "red": (230, 30, 30),
    "green": (30, 165, 60),
    "blue": (40, 80, 230),
    "yellow": (250, 220, 40),
    "purple": (140, 50, 190),
    "orange": (250, 130, 20),
    "white": (250, 250, 250),
    "black": (12, 12, 16),
}
FRAMES, FPS = 17, 8
PREVIEW_PX = 16


@dataclass(frozen=True)
class Scene:
    colour: str
    shape: str
    motion: str
    ground: str
    width: int = 256
    height: int = 256

    @property
    def prompt(self) -> str:
        article, other = ("an" if word[0] in "aeiou" else "a" for word in (self.colour, self.ground))
        return f"{article} {self.colour} {self.shape} {self.motion} on {other} {self.ground} background"


def _outline(shape: str, radius: float) -> list[tuple[float, float]]:
    corners, start = {"circle": (64, 0.0), "square": (4, math.pi / 4), "triangle": (3, -math.pi / 2)}.get(
        shape, (10, -math.pi / 2)
    )
    points = []
    for i in range(corners):
        angle = start + i * 2 * math.pi / corners
        reach = radius * (0.42 if shape == "star" and i % 2 else 1.0)
        points.append((reach * math.cos(angle), reach * math.sin(angle)))
    return points


def frame(scene: Scene, index: int) -> Image.Image:
    share = index / (FRAMES - 1)
    radius = scene.height * 0.2
    x = y = 0.5
    match scene.motion:
        case "moving right":
            x = 0.2 + 0.6 * share
        case "moving left":
            x = 0.8 - 0.6 * share
        case "moving up":
            y = 0.8 - 0.6 * share
        case "moving down":
            y = 0.2 + 0.6 * share
        case "growing":
            radius *= 0.4 + 1.2 * share
        case "shrinking":
            radius *= 1.6 - 1.2 * share
    big = Image.new("RGB", (scene.width * 2, scene.height * 2), COLOURS[scene.ground])
    points = [
        ((x * scene.width + px) * 2, (y * scene.height + py) * 2) for px, py in _outline(scene.shape, radius)
    ]
    ImageDraw.Draw(big).polygon(points, fill=COLOURS[scene.colour])
    return big.resize((scene.width, scene.height), Image.Resampling.LANCZOS)


def render(scene: Scene, folder: Path, name: str) -> None:
    """Write `name`.mp4, `name`.webp (poster) and `name`-noise.webp (a preview while it denoises)."""
    target = folder / f"{name}.mp4"
    if target.exists():
        return
    frames = [frame(scene, i) for i in range(FRAMES)]
    with av.open(str(target), "w", options={"movflags": "+faststart"}) as container:
        stream = container.add_stream("libx264", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = scene.width, scene.height, "yuv420p"
        for picture in frames:
            for packet in stream.encode(av.VideoFrame.from_ndarray(np.asarray(picture), format="rgb24")):
                container.mux(packet)
        for packet in stream.encode(None):
            container.mux(packet)
    frames[FRAMES // 2].save(folder / f"{name}.webp", quality=90)
    # As small as the studio lets a preview be: nothing that was not judged can be made out.
    share = PREVIEW_PX / max(scene.width, scene.height)
    small = frames[FRAMES // 2].resize((round(scene.width * share), round(scene.height * share)))
    pixels = np.asarray(small, dtype=float)
    noise = np.random.default_rng(7).normal(0, 24, pixels.shape)
    noisy = np.clip(pixels * 0.8 + 25 + noise, 0, 255).astype("uint8")
    Image.fromarray(noisy).save(folder / f"{name}-noise.webp", quality=80)
