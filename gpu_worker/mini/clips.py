"""Clips of the mini world as numbers: which ones there are, where things are in each frame, their masks.

Masks are drawn from tables of signed distances (one a kind and form), 20 times faster than evaluating them.
"""

from dataclasses import dataclass
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from backend.recipes.mini_world import (
    ANY_RADIUS,
    CANVAS_UNITS,
    COLOURS,
    GROWING_RADII,
    MIN_TRAVEL,
    MOTIONS,
    NUM_FRAMES,
    SIZES,
    THINGS,
)
from gpu_worker.mini.shapes import FORMS, KINDS, draw_masks, stable_forms

TABLE_SIZE: Final = 160
TABLE_REACH: Final = 1.7
"""A table covers this many radii on either side of the centre."""
DIRECTIONS: Final = ((1.0, 0.0), (-1.0, 0.0), (0.0, -1.0), (0.0, 1.0))
"""Unit steps of the first four motions, in the order of MOTIONS."""
GROWING: Final = 4
SHRINKING: Final = 5
STILL: Final = 6
NO_SIZE: Final = -1


@dataclass(frozen=True, kw_only=True)
class ClipSpecs:
    """N clips: indices (N) into THINGS, forms, MOTIONS and SIZES, and the path and radius of each frame (N, 17)."""

    thing: Tensor
    form: Tensor
    motion: Tensor
    size: Tensor
    x: Tensor
    y: Tensor
    radius: Tensor

    def __len__(self) -> int:
        return int(self.thing.shape[0])

    def select(self, index: Tensor) -> "ClipSpecs":
        """The clips at `index`."""
        return ClipSpecs(**{name: getattr(self, name)[index] for name in self.__dataclass_fields__})


def sample_specs(count: int, generator: torch.Generator, *, leaves_canvas: bool = False) -> ClipSpecs:
    """Draw `count` clips at random.

    Their shapes stay in the picture, unless `leaves_canvas`: then they start anywhere and may move out of it,
    as clips do that go on from another clip's last frame.
    """

    def rand(low: float | Tensor, high: float | Tensor) -> Tensor:
        return low + (high - low) * torch.rand(count, generator=generator)

    thing = torch.randint(len(THINGS), (count,), generator=generator)
    form = torch.randint(FORMS, (count,), generator=generator)
    motion = torch.randint(len(MOTIONS), (count,), generator=generator)
    radius = rand(*ANY_RADIUS)
    size = torch.full((count,), NO_SIZE)
    named = torch.rand(count, generator=generator) < 0.7
    for index, entry in enumerate(SIZES):
        low, high = entry.radius_range
        size = torch.where((radius >= low) & (radius <= high) & named, index, size)
    resizes = (motion == GROWING) | (motion == SHRINKING)
    size = torch.where(resizes, NO_SIZE, size)
    small, large = rand(*GROWING_RADII[0]), rand(*GROWING_RADII[1])
    time = torch.linspace(0, 1, NUM_FRAMES)
    grown = small[:, None] * (large / small)[:, None] ** time
    radii = radius[:, None].expand(-1, NUM_FRAMES)
    radii = torch.where((motion == GROWING)[:, None], grown, radii)
    radii = torch.where((motion == SHRINKING)[:, None], grown.flip(1), radii)

    inside = torch.where(resizes, 0.6 * large, 0.75 * radius)
    step = torch.tensor(DIRECTIONS + ((0.0, 0.0),) * 3)[motion]
    travel = rand(MIN_TRAVEL + 2, (CANVAS_UNITS - 2 * inside).clamp(MIN_TRAVEL + 3, 42.0))
    places = []
    for axis in range(2):
        way = step[:, axis] * travel
        if leaves_canvas:
            start = rand(0.7 * inside, CANVAS_UNITS - 0.7 * inside)
        else:
            nearest = inside - way.clamp(max=0)
            start = rand(nearest, torch.maximum(CANVAS_UNITS - inside - way.clamp(min=0), nearest + 0.01))
        places.append(start[:, None] + way[:, None] * time)
    return ClipSpecs(
        thing=thing, form=form, motion=motion, size=size, x=places[0], y=places[1], radius=radii.contiguous()
    )


def sample_colours(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Indices of a shape colour and of another background colour for `count` clips."""
    foreground = torch.randint(len(COLOURS), (count,), generator=generator)
    other = torch.randint(1, len(COLOURS), (count,), generator=generator)
    return foreground, (foreground + other) % len(COLOURS)


def colour_table() -> Tensor:
    """The RGB of COLOURS in [-1, 1], (8, 3)."""
    return torch.tensor([colour.rgb for colour in COLOURS], dtype=torch.float32) / 127.5 - 1


class MaskDrawer:
    """Draws masks of any mixture of kinds and forms."""

    def __init__(self) -> None:
        forms = stable_forms(FORMS)
        pixel = 2 * TABLE_REACH / TABLE_SIZE
        one = torch.tensor([CANVAS_UNITS / 2])
        tables = []
        for kind in KINDS:
            for form in forms:
                # A ramp as wide as the table turns coverage back into signed distance.
                alpha = draw_masks(
                    kind,
                    TABLE_SIZE,
                    cx=one,
                    cy=one,
                    radius=one / TABLE_REACH,
                    form=form[None],
                    softness_px=2 * TABLE_SIZE,
                )
                tables.append((0.5 - alpha[0]) * 2 * TABLE_SIZE * pixel)
        self._tables = torch.stack(tables).unsqueeze(1)

    def tables(self) -> Tensor:
        """Signed distances of all kinds and forms at radius 1, (kinds * forms, 1, TABLE_SIZE, TABLE_SIZE)."""
        return self._tables

    def draw(
        self,
        thing: Tensor,
        form: Tensor,
        x: Tensor,
        y: Tensor,
        radius: Tensor,
        size: int,
        softness_px: float = 1.0,
    ) -> Tensor:
        """Alpha masks (N, size, size) of N drawings; all arguments are (N), places in canvas units."""
        out = torch.empty(len(thing), size, size)
        axis = (torch.arange(size, dtype=torch.float32) + 0.5) * (CANVAS_UNITS / size)
        ramp = softness_px * CANVAS_UNITS / size
        index = thing * FORMS + form
        for table_index in index.unique().tolist():
            chosen = (index == table_index).nonzero().squeeze(1)
            for rows in chosen.split(256):
                r = radius[rows].view(-1, 1, 1)
                u = ((axis.view(1, 1, -1) - x[rows].view(-1, 1, 1)) / (r * TABLE_REACH)).expand(
                    -1, size, size
                )
                v = ((axis.view(1, -1, 1) - y[rows].view(-1, 1, 1)) / (r * TABLE_REACH)).expand(
                    -1, size, size
                )
                grid = torch.stack([u, v], -1).reshape(1, len(rows), size * size, 2)
                table = self._tables[table_index : table_index + 1]
                distance = F.grid_sample(table, grid, padding_mode="border", align_corners=False)
                distance = distance.view(len(rows), size, size) * r
                out[rows] = (0.5 - distance / ramp).clamp_(0, 1)
        return out

    def draw_clips(self, specs: ClipSpecs, size: int, frames: Tensor | None = None) -> Tensor:
        """Alpha masks (N, frames, size, size) of the clips, of all frames or of those in `frames` (K)."""
        frames = torch.arange(NUM_FRAMES) if frames is None else frames
        count = len(frames)
        masks = self.draw(
            specs.thing.repeat_interleave(count),
            specs.form.repeat_interleave(count),
            specs.x[:, frames].reshape(-1),
            specs.y[:, frames].reshape(-1),
            specs.radius[:, frames].reshape(-1),
            size,
        )
        return masks.view(len(specs), count, size, size)


def paint(alpha: Tensor, foreground: Tensor, background: Tensor) -> Tensor:
    """Colour masks: alpha (N, F, H, W), colour indices (N) -> RGB in [-1, 1], (N, 3, F, H, W)."""
    table = colour_table()
    fg, bg = table[foreground], table[background]
    return bg[:, :, None, None, None] + alpha.unsqueeze(1) * (fg - bg)[:, :, None, None, None]
