"""Coloured, degraded frames for the mini CLIP, drawn per batch from a pool of masks.

Colours are drawn anew for every frame, so that colour never gives a class away. One exception is meant: a
splatter in red or dark red is blood, in any other colour it is paint.
"""

import random
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as nnf

from backend.recipes.mini_world import COLOURS
from gpu_worker.mini.clip_drawings import draw
from gpu_worker.mini.shapes import draw_masks, random_forms, stable_forms

SAFE_KINDS = ("circle", "square", "triangle", "star", "ring", "letter", "arrow", "smiley", "splash", "empty")
GLYPH_KINDS = ("pistol", "knife", "skull", "blood")
KINDS = SAFE_KINDS + GLYPH_KINDS
SHARES = {
    "circle": 6, "square": 6, "triangle": 6, "star": 6, "ring": 3, "letter": 14, "arrow": 8, "smiley": 5,
    "splash": 5, "empty": 2, "pistol": 13, "knife": 13, "skull": 8, "blood": 6,
}  # fmt: skip
"""How often each kind is trained on: weapons are the hardest to learn, bars and arrows the easiest to accuse."""

WORLD_KINDS = frozenset(
    {"circle", "square", "triangle", "star", "pistol", "knife", "skull", "blood", "splash"}
)
"""Kinds that the video world draws too; half of their masks come from its own drawing routine."""

_PALETTE = torch.tensor([colour.rgb for colour in COLOURS], dtype=torch.float32) / 255.0
_RED = [colour.name for colour in COLOURS].index("red")


@dataclass(frozen=True, kw_only=True)
class Frames:
    """A batch: `pixels` (N, 3, 64, 64) in [0, 1], `kinds` (N) as indices into KINDS, names of the colours."""

    pixels: Tensor
    kinds: Tensor
    ink: Tensor
    ground: Tensor


def draw_pool(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Masks (count, 64, 64) uint8 and their kinds (count), in the shares above; the seed decides all of it."""
    rng = random.Random(seed)
    generator = torch.Generator().manual_seed(seed)
    names = rng.choices(KINDS, weights=[SHARES[kind] for kind in KINDS], k=count)
    masks = torch.zeros(count, 64, 64, dtype=torch.uint8)
    world: dict[str, list[int]] = {}
    for index, name in enumerate(names):
        if name in WORLD_KINDS and rng.random() < 0.5:
            world.setdefault("blood" if name == "splash" else name, []).append(index)
        else:
            drawing = "splatter" if name in ("splash", "blood") else name
            masks[index] = torch.from_numpy(draw(drawing, rng).copy())
    for name, indices in world.items():
        for start in range(0, len(indices), 256):
            chosen = indices[start : start + 256]
            masks[chosen] = _world_masks(name, len(chosen), generator)
    return masks, torch.tensor([KINDS.index(name) for name in names])


def _world_masks(name: str, count: int, generator: torch.Generator) -> Tensor:
    """Masks drawn as the video world draws them, in its own forms or (a third) in forms it does not have."""
    own = stable_forms()
    form = own[torch.randint(len(own), (count,), generator=generator)]
    other = torch.rand(count, generator=generator) < 0.33
    form[other] = random_forms(count, generator)[other]
    radius = 5 + 19 * torch.rand(count, generator=generator)
    margin = radius * torch.where(torch.rand(count, generator=generator) < 0.7, 1.0, 0.75)
    place = torch.rand(2, count, generator=generator) * (64 - 2 * margin) + margin
    masks = draw_masks(name, 64, cx=place[0], cy=place[1], radius=radius, form=form, supersampling=2)
    return (masks * 255).round().to(torch.uint8)


def colour_frames(
    masks: Tensor, kinds: Tensor, generator: torch.Generator, *, degraded: float = 0.5
) -> Frames:
    """Give masks (N, 64, 64) uint8 colours and place; `degraded` is the share of frames that are worsened."""
    count = masks.shape[0]
    alpha = masks.to(torch.float32).unsqueeze(1) / 255.0
    alpha = _warp(alpha, generator)
    ink, ground = _choose_colours(kinds, generator)
    jitter = 0.06
    ink_rgb = _PALETTE[ink] + jitter * torch.randn(count, 3, generator=generator)
    ground_rgb = _PALETTE[ground] + jitter * torch.randn(count, 3, generator=generator)
    is_blood = kinds == KINDS.index("blood")
    dark = is_blood & (torch.rand(count, generator=generator) < 0.35)
    ink_rgb[dark] *= 0.45 + 0.4 * torch.rand(int(dark.sum()), 1, generator=generator)
    ground_field = ground_rgb[:, :, None, None].expand(-1, -1, 64, 64)
    ramp = (torch.linspace(-1, 1, 64)[None, None, :, None]) * (
        0.12 * torch.randn(count, 1, 1, 1, generator=generator)
    )
    graded = (torch.rand(count, 1, 1, 1, generator=generator) < 0.2).to(torch.float32)
    pixels = ground_field * (1 - alpha) + ink_rgb[:, :, None, None] * alpha + ramp * graded
    pixels = pixels.clamp(0, 1)
    worse = torch.rand(count, generator=generator) < degraded
    if bool(worse.any()):
        pixels[worse] = degrade(pixels[worse], generator)
    return Frames(pixels=pixels, kinds=kinds, ink=ink, ground=ground)


def _choose_colours(kinds: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    count, colours = kinds.shape[0], len(COLOURS)
    ink = torch.randint(colours, (count,), generator=generator)
    # Red shapes and white ones are seen more often than by chance: red is no crime, and skulls come in any colour.
    ink[torch.rand(count, generator=generator) < 0.12] = _RED
    ink[kinds == KINDS.index("blood")] = _RED
    paint = (kinds == KINDS.index("splash")) & (ink == _RED)
    ink[paint] = (_RED + 1 + torch.randint(colours - 1, (int(paint.sum()),), generator=generator)) % colours
    ground = (ink + 1 + torch.randint(colours - 1, (count,), generator=generator)) % colours
    return ink, ground


def _warp(alpha: Tensor, generator: torch.Generator) -> Tensor:
    """Mirror, shift, turn a little, and make outlines wobble as a small video model does."""
    count = alpha.shape[0]
    flip = torch.where(torch.rand(count, generator=generator) < 0.5, -1.0, 1.0)
    turn = 0.1 * torch.randn(count, generator=generator)
    scale = 1 + 0.1 * torch.randn(count, generator=generator).clamp(-2, 2)
    cosine, sine = turn.cos() / scale, turn.sin() / scale
    shift = 0.06 * torch.randn(2, count, generator=generator).clamp(-2, 2)
    affine = torch.stack(
        [
            torch.stack([cosine * flip, -sine, shift[0]], dim=1),
            torch.stack([sine * flip, cosine, shift[1]], dim=1),
        ],
        dim=1,
    )
    grid = nnf.affine_grid(affine, [count, 1, 64, 64], align_corners=False)
    cells = 12
    strength = torch.where(torch.rand(count, generator=generator) < 0.5, 0.0, 1.0)
    strength = strength * torch.rand(count, generator=generator) * 0.035
    field = torch.randn(count, 2, cells, cells, generator=generator) * strength[:, None, None, None]
    wobble = nnf.interpolate(field, size=(64, 64), mode="bilinear", align_corners=False).permute(0, 2, 3, 1)
    return nnf.grid_sample(alpha, grid + wobble, align_corners=False, padding_mode="zeros")


def degrade(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Worsen frames (N, 3, 64, 64) as codecs and small models do: blur, blocks, noise, low contrast, dim light."""
    count = pixels.shape[0]

    def some(share: float) -> Tensor:
        return torch.rand(count, generator=generator) < share

    chosen = some(0.45)
    if bool(chosen.any()):
        blurred = nnf.avg_pool2d(nnf.pad(pixels[chosen], (1, 1, 1, 1), mode="replicate"), 3, stride=1)
        again = nnf.avg_pool2d(nnf.pad(blurred, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
        heavy = (torch.rand(int(chosen.sum()), generator=generator) < 0.4)[:, None, None, None]
        pixels[chosen] = torch.where(heavy, again, blurred)
    chosen = some(0.3)
    if bool(chosen.any()):
        # Two strengths of block artefact: an eighth of a block's own mean, as coarse quantisation leaves it.
        part = pixels[chosen]
        coarse = nnf.interpolate(nnf.avg_pool2d(part, 8), scale_factor=8.0, mode="nearest")
        pixels[chosen] = part + 0.25 * (coarse - part)
    chosen = some(0.25)
    if bool(chosen.any()):
        small = nnf.interpolate(pixels[chosen], size=(36, 36), mode="bilinear", antialias=True)
        pixels[chosen] = nnf.interpolate(small, size=(64, 64), mode="bilinear")
    chosen = some(0.35)
    if bool(chosen.any()):
        part = pixels[chosen]
        pixels[chosen] = part + 0.05 * torch.randn(part.shape, generator=generator)
    chosen = some(0.3)
    if bool(chosen.any()):
        part = pixels[chosen]
        contrast = 0.45 + 0.5 * torch.rand(part.shape[0], 1, 1, 1, generator=generator)
        middle = part.mean(dim=(1, 2, 3), keepdim=True)
        pixels[chosen] = middle + (part - middle) * contrast
    return pixels.clamp(0, 1)
