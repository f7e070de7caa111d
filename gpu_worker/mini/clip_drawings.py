"""Silhouettes for training and measuring the mini CLIP: the glyphs it must find and what it must not mistake for them.

Each drawing has a style of its own at every draw, on purpose wider than what the mini video model draws, so
that the classifier learns what a pistol is and not how one routine draws it. Masks only: colour comes later.
"""

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

SIZE_PX = 64
SUPERSAMPLING = 4
LETTERS = "ABCDEFGHJKLMNPRSTUVWXYZ" + "IILLTTFF7711//--" + "abdeghknqrty2345689"

Point = tuple[float, float]
Mask = npt.NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Where a drawing lies: centre and radius in pixels of the 64 px canvas, turn in radians, mirrored or not."""

    centre_x: float
    centre_y: float
    radius: float
    turn: float = 0.0
    mirrored: bool = False


@dataclass
class Pen:
    """Draws in the unit square [-1, 1] (y downwards) of a placement, onto a supersampled greyscale canvas."""

    placement: Placement
    canvas: Image.Image = field(init=False)

    def __post_init__(self) -> None:
        self.canvas = Image.new("L", (SIZE_PX * SUPERSAMPLING,) * 2, 0)
        self._draw = ImageDraw.Draw(self.canvas)

    def polygon(self, points: Sequence[Point], ink: int = 255) -> None:
        """Fill a polygon; `ink` 0 cuts a hole."""
        self._draw.polygon([self._onto_canvas(point) for point in points], fill=ink)

    def ellipse(self, centre: Point, radius_x: float, radius_y: float | None = None, ink: int = 255) -> None:
        """Fill an ellipse along the axes of the drawing."""
        vertical = radius_x if radius_y is None else radius_y
        angles = [2 * math.pi * step / 36 for step in range(36)]
        self.polygon(
            [(centre[0] + radius_x * math.cos(a), centre[1] + vertical * math.sin(a)) for a in angles], ink
        )

    def box(self, left: float, top: float, right: float, bottom: float, ink: int = 255) -> None:
        """Fill a box along the axes of the drawing."""
        self.polygon([(left, top), (right, top), (right, bottom), (left, bottom)], ink)

    def stroke(self, points: Sequence[Point], width: float, ink: int = 255) -> None:
        """Draw a line of `width` with round ends through the points."""
        line = [self._onto_canvas(point) for point in points]
        width_px = max(1, round(width * self.placement.radius * SUPERSAMPLING))
        self._draw.line(line, fill=ink, width=width_px, joint="curve")
        for x, y in (line[0], line[-1]):
            half = width_px / 2
            self._draw.ellipse((x - half, y - half, x + half, y + half), fill=ink)

    def mask(self) -> Mask:
        """The canvas at 64 px, 0 to 255 with soft edges."""
        return np.asarray(self.canvas.resize((SIZE_PX, SIZE_PX), Image.Resampling.BOX))

    def _onto_canvas(self, point: Point) -> Point:
        x, y = (-point[0], point[1]) if self.placement.mirrored else point
        cosine, sine = math.cos(self.placement.turn), math.sin(self.placement.turn)
        scale = self.placement.radius
        return (
            (self.placement.centre_x + scale * (x * cosine - y * sine)) * SUPERSAMPLING,
            (self.placement.centre_y + scale * (x * sine + y * cosine)) * SUPERSAMPLING,
        )


def circle(pen: Pen, rng: random.Random) -> None:
    """A disc, now and then slightly oval."""
    pen.ellipse((0, 0), 1.0, rng.choice([1.0, 1.0, rng.uniform(0.85, 1.0)]))


def square(pen: Pen, rng: random.Random) -> None:
    """A square, now and then a slightly oblong one."""
    side = rng.uniform(0.75, 0.95)
    pen.box(-side, -side * rng.choice([1.0, 1.0, 0.8]), side, side)


def triangle(pen: Pen, rng: random.Random) -> None:
    """A triangle with its base down."""
    foot = rng.uniform(0.8, 1.0)
    pen.polygon([(rng.uniform(-0.15, 0.15), -1), (foot, rng.uniform(0.5, 0.85)), (-foot, 0.7)])


def star(pen: Pen, rng: random.Random) -> None:
    """A star with five, now and then six, points."""
    tips = rng.choice([5, 5, 5, 5, 6])
    inner = rng.uniform(0.36, 0.52)
    pen.polygon(
        [
            (
                math.sin(math.pi * step / tips) * (inner if step % 2 else 1.0),
                -math.cos(math.pi * step / tips) * (inner if step % 2 else 1.0),
            )
            for step in range(2 * tips)
        ]
    )


def ring(pen: Pen, rng: random.Random) -> None:
    """A disc with a round hole."""
    pen.ellipse((0, 0), 1.0)
    inner = rng.uniform(0.4, 0.85)
    pen.ellipse((0, 0), inner, ink=0)


def letter(pen: Pen, rng: random.Random) -> None:
    """A letter, digit or bar in a bold face: half of them the bars and elbows that look most like weapons."""
    if rng.random() < 0.4:
        _bars(pen, rng)
        return
    size_px = round(pen.placement.radius * 2 * SUPERSAMPLING)
    font = ImageFont.load_default(max(12, size_px))
    tile = Image.new("L", (size_px * 2, size_px * 2), 0)
    ImageDraw.Draw(tile).text(
        (size_px, size_px),
        rng.choice(LETTERS),
        fill=255,
        font=font,
        anchor="mm",
        stroke_width=round(size_px * rng.uniform(0.0, 0.07)),
    )
    tile = tile.rotate(-math.degrees(pen.placement.turn), resample=Image.Resampling.BILINEAR)
    pen.canvas.paste(
        tile,
        (
            round(pen.placement.centre_x * SUPERSAMPLING) - size_px,
            round(pen.placement.centre_y * SUPERSAMPLING) - size_px,
        ),
        tile,
    )


def _bars(pen: Pen, rng: random.Random) -> None:
    width = rng.uniform(0.12, 0.34)
    match rng.choice(["I", "L", "T", "F", "7", "E", "H", "X"]):
        case "I":
            pen.box(-width, -1, width, 1)
        case "L":
            pen.box(-0.6, -1, -0.6 + 2 * width, 1)
            pen.box(-0.6, 1 - 2 * width, rng.uniform(0.1, 0.7), 1)
        case "T":
            pen.box(-width, -1, width, 1)
            pen.box(-0.75, -1, 0.75, -1 + 2 * width)
        case "F":
            pen.box(-0.6, -1, -0.6 + 2 * width, 1)
            pen.box(-0.6, -1, 0.65, -1 + 1.6 * width)
            pen.box(-0.6, -0.2, rng.uniform(0.1, 0.5), -0.2 + 1.6 * width)
        case "7":
            pen.box(-0.65, -1, 0.65, -1 + 2 * width)
            pen.polygon([(0.65, -1), (0.65, -0.6), (-0.1 + width, 1), (-0.1 - width, 1)])
        case "E":
            pen.box(-0.6, -1, -0.6 + 2 * width, 1)
            for top in (-1, -width * 0.8, 1 - 1.6 * width):
                pen.box(-0.6, top, 0.6, top + 1.6 * width)
        case "H":
            pen.box(-0.7, -1, -0.7 + 1.6 * width, 1)
            pen.box(0.7 - 1.6 * width, -1, 0.7, 1)
            pen.box(-0.7, -width, 0.7, width)
        case _:
            pen.stroke([(-0.7, -0.8), (0.7, 0.8)], 2 * width)
            pen.stroke([(0.7, -0.8), (-0.7, 0.8)], 2 * width)


def arrow(pen: Pen, rng: random.Random) -> None:
    """An arrow: a shaft and a head, at times a chevron head."""
    shaft, head = rng.uniform(0.08, 0.28), rng.uniform(0.4, 0.8)
    neck = rng.uniform(-0.1, 0.5)
    if rng.random() < 0.25:
        pen.stroke([(-1, 0), (0.95, 0)], 2 * shaft)
        pen.stroke([(neck, -head), (0.95, 0), (neck, head)], 2 * shaft)
        return
    pen.box(-1, -shaft, neck + 0.02, shaft)
    pen.polygon([(neck, -head), (1, 0), (neck, head)])


def smiley(pen: Pen, rng: random.Random) -> None:
    """A face with two eyes and a curved mouth: filled or drawn as an outline."""
    outlined = rng.random() < 0.4
    pen.ellipse((0, 0), 1.0)
    if outlined:
        pen.ellipse((0, 0), rng.uniform(0.78, 0.88), ink=0)
    feature = 255 if outlined else 0
    eye, apart, height = rng.uniform(0.1, 0.18), rng.uniform(0.3, 0.42), rng.uniform(-0.4, -0.25)
    for side in (-1, 1):
        pen.ellipse((side * apart, height), eye, eye * rng.uniform(1.0, 1.5), ink=feature)
    wide, bend = rng.uniform(0.4, 0.6), rng.choice([1, 1, 1, -1]) * rng.uniform(0.2, 0.4)
    mouth = [(wide * step / 6, 0.4 + bend * (1 - (step / 6) ** 2)) for step in range(-6, 7)]
    pen.stroke(mouth, rng.uniform(0.1, 0.2), ink=feature)


def splatter(pen: Pen, rng: random.Random) -> None:
    """A splash of liquid: an uneven blob with spikes, droplets and, at times, drips. Its colour says of what."""
    tips = rng.randint(7, 13)
    phase = rng.uniform(0, 2 * math.pi)
    outline: list[Point] = []
    for step in range(tips):
        for reach, offset in (
            (rng.uniform(0.32, 0.5), 0.0),
            (rng.uniform(0.5, 0.95), 0.42),
            (rng.uniform(0.5, 0.95), 0.58),
        ):
            angle = phase + 2 * math.pi * (step + offset) / tips
            outline.append((reach * math.cos(angle), reach * math.sin(angle)))
    pen.polygon(outline)
    pen.ellipse((0, 0), rng.uniform(0.4, 0.55))
    for _ in range(rng.randint(3, 9)):
        angle, reach = rng.uniform(0, 2 * math.pi), rng.uniform(0.65, 1.05)
        pen.ellipse((reach * math.cos(angle), reach * math.sin(angle)), rng.uniform(0.06, 0.17))
    for _ in range(rng.choice([0, 0, 1, 2, 3])):
        x, foot = rng.uniform(-0.5, 0.5), rng.uniform(0.6, 1.2)
        width = rng.uniform(0.1, 0.2)
        pen.stroke([(x, 0), (x, foot)], width)
        pen.ellipse((x, foot), width * 0.8)


def pistol(pen: Pen, rng: random.Random) -> None:
    """A handgun from the side: barrel or slide, slanted grip, trigger guard; at times a revolver's drum."""
    thick = rng.uniform(0.16, 0.26)
    top, rear = rng.uniform(-0.6, -0.4), rng.uniform(0.6, 0.85)
    bottom = top + 2 * thick
    muzzle = rng.uniform(-1.0, -0.85)
    pen.box(muzzle, top, rear, bottom)
    if rng.random() < 0.4:
        pen.box(muzzle + 0.06, top - 0.1, muzzle + 0.16, top)
    slant, depth = rng.uniform(0.05, 0.4), rng.uniform(0.7, 0.95)
    front, width = rng.uniform(0.12, 0.28), rng.uniform(0.36, 0.5)
    pen.polygon(
        [
            (front, bottom - 0.08),
            (min(front + width, rear), bottom - 0.08),
            (front + width + slant, depth),
            (front + slant, depth),
        ]
    )
    if rng.random() < 0.35:
        pen.ellipse((0.05, top + thick * 1.1), thick * rng.uniform(1.15, 1.4))
        pen.polygon([(rear - 0.1, top), (rear + 0.15, top - 0.2), (rear + 0.12, top + 0.1)])
    if rng.random() < 0.85:
        guard = rng.uniform(0.17, 0.26)
        pen.ellipse((front - guard * 0.6, bottom + guard * 0.6), guard)
        pen.ellipse((front - guard * 0.6, bottom + guard * 0.6), guard * 0.6, ink=0)
        pen.stroke([(front - guard * 0.6, bottom), (front - guard * 0.8, bottom + guard * 0.6)], 0.07)
        pen.box(muzzle, bottom - thick * 0.6, rear, bottom)


def knife(pen: Pen, rng: random.Random) -> None:
    """A knife or dagger: a pointed blade, at times a guard, a narrower or rounder handle."""
    blade, grip = rng.uniform(0.14, 0.3), rng.uniform(0.09, 0.16)
    heel = rng.uniform(0.15, 0.4)
    match rng.choice(["kitchen", "kitchen", "dagger", "hunting"]):
        case "kitchen":
            belly = [(-1 + 1.2 * step / 8, blade * (1 - (1 - step / 8) ** 2)) for step in range(9)]
            pen.polygon([(-1, -blade), (heel, -blade), (heel, blade), *reversed(belly)])
        case "dagger":
            pen.polygon([(-1, 0), (-0.65, -blade), (heel, -blade), (heel, blade), (-0.65, blade)])
        case _:
            pen.polygon([(-1, -blade * 0.3), (-0.55, -blade), (heel, -blade), (heel, blade), (-0.7, blade)])
    if rng.random() < 0.55:
        guard = rng.uniform(0.05, 0.1)
        pen.box(heel - guard, -blade * 1.5, heel + guard, blade * 1.5)
    lift = rng.choice([0.0, -blade + grip])
    pen.stroke([(heel, lift), (0.95 - grip, lift)], 2 * grip)
    if rng.random() < 0.3:
        pen.ellipse((0.93, lift), grip * 1.35)


def skull(pen: Pen, rng: random.Random) -> None:
    """A skull from the front: round cranium, narrower jaw with teeth, two sockets and a nose; at times bones."""
    if rng.random() < 0.2:
        for side in (-1, 1):
            pen.stroke([(-0.9 * side, 0.35), (0.9 * side, 0.95)], 0.14)
            for x, y in ((-0.9 * side, 0.35), (0.9 * side, 0.95)):
                pen.ellipse((x, y - 0.06), 0.11)
                pen.ellipse((x, y + 0.06), 0.11)
    wide, crown = rng.uniform(0.72, 0.9), rng.uniform(0.62, 0.75)
    pen.ellipse((0, -0.25), wide, crown)
    jaw, chin = rng.uniform(0.38, 0.56), rng.uniform(0.75, 0.95)
    pen.polygon([(-jaw * 1.15, 0.1), (jaw * 1.15, 0.1), (jaw, chin), (-jaw, chin)])
    socket, apart = rng.uniform(0.19, 0.28), rng.uniform(0.32, 0.42)
    height = rng.uniform(-0.25, -0.08)
    for side in (-1, 1):
        pen.ellipse((side * apart, height), socket, socket * rng.uniform(0.85, 1.2), ink=0)
    pen.polygon([(0, 0.08), (0.13, 0.32), (-0.13, 0.32)], ink=0)
    teeth = rng.randint(2, 4)
    for gap in range(teeth):
        x = jaw * (2 * (gap + 1) / (teeth + 1) - 1)
        pen.stroke([(x, rng.uniform(0.5, 0.6)), (x, chin)], 0.07, ink=0)
    if rng.random() < 0.4:
        pen.stroke([(-jaw * 0.9, 0.55), (jaw * 0.9, 0.55)], 0.06, ink=0)


def empty(pen: Pen, rng: random.Random) -> None:
    """Nothing but the background."""


DRAWINGS: dict[str, Callable[[Pen, random.Random], None]] = {
    "circle": circle,
    "square": square,
    "triangle": triangle,
    "star": star,
    "ring": ring,
    "letter": letter,
    "arrow": arrow,
    "smiley": smiley,
    "splatter": splatter,
    "empty": empty,
    "pistol": pistol,
    "knife": knife,
    "skull": skull,
}
TURNS_FREELY = frozenset({"arrow", "knife", "splatter", "ring", "circle"})


def draw(kind: str, rng: random.Random) -> Mask:
    """Draw one `kind` somewhere on the 64 px canvas at a radius of 5 to 27 px; edges may be cut off a little."""
    radius = 5 + 22 * rng.betavariate(1.7, 2.2)
    margin = radius * rng.choice([0.95, 0.95, 0.7])
    turns = kind in TURNS_FREELY or rng.random() < 0.1
    turn = rng.uniform(0, 2 * math.pi) if turns else rng.gauss(0, 0.15)
    pen = Pen(
        Placement(
            centre_x=rng.uniform(margin, SIZE_PX - margin),
            centre_y=rng.uniform(margin, SIZE_PX - margin),
            radius=radius,
            turn=turn,
            mirrored=rng.random() < 0.5,
        )
    )
    DRAWINGS[kind](pen, rng)
    return pen.mask()
