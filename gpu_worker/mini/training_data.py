"""What the mini video model learns from: clips and captions drawn anew for each batch.

The codec's latents follow from a clip's numbers, so next to nothing is rendered while training.
"""

import hashlib
import random
from dataclasses import dataclass
from functools import cache
from typing import Final

import torch
from torch import Tensor

from backend.recipes.mini_world import COLOURS, MAX_TOKENS, MOTIONS, NUM_FRAMES, PIECES, SIZES, THINGS
from gpu_worker.mini.clips import ClipSpecs, MaskDrawer, colour_table, sample_colours, sample_specs
from gpu_worker.mini.codec import COARSE_PX, PATCH_FRAMES, MiniVideoCodec, join, measure
from gpu_worker.mini.outlines import Outlines, template_index
from gpu_worker.mini.text import SPECIAL_PIECES

PIECE_IDS: Final = {piece: index for index, piece in enumerate((*SPECIAL_PIECES, *PIECES))}
LATENT_FRAMES: Final = (NUM_FRAMES - 1) // PATCH_FRAMES + 1
FRAME_RATE: Final = 25.0
"""The frame rate the pipeline is told, which only scales its time coordinates."""


@cache
def is_held_out(thing: int, motion: int, foreground: int, background: int) -> bool:
    """Whether a combination is kept from training, for the gate: one in ten, by hash."""
    key = f"{THINGS[thing].name}/{MOTIONS[motion].name}/{COLOURS[foreground].name}/{COLOURS[background].name}"
    return hashlib.sha256(key.encode()).digest()[0] % 10 == 0


@dataclass(frozen=True, kw_only=True)
class World:
    """The fitted codec and the outlines that it knows, with their codes (N, K)."""

    codec: MiniVideoCodec
    outlines: Outlines
    codes: Tensor
    drawer: MaskDrawer

    def latents(self, specs: ClipSpecs, foreground: Tensor, background: Tensor) -> Tensor:
        """Tokens (N, T, C) of clips, straight from their specs; right also where a thing leaves the picture."""
        index = template_index(specs.thing, specs.form)
        place = torch.stack([specs.x, specs.y], -1)
        centre = place + self.outlines.centre[index][:, None] * specs.radius[..., None]
        size = self.outlines.size[index][:, None] * specs.radius
        code = self.codes[index][:, None].expand(-1, specs.x.shape[1], -1)
        table = colour_table()
        return join(table[foreground], table[background], centre, size, code)[..., 0, 0].transpose(1, 2)

    def seen(self, specs: ClipSpecs, frame: int, foreground: Tensor, background: Tensor) -> Tensor:
        """The token (N, 1, C) that encoding one drawn frame gives, cut off where the picture ends."""
        mask = self.drawer.draw_clips(specs, COARSE_PX, torch.tensor([frame]))
        table = colour_table()
        centre, size = measure(mask)
        code = self.codec.outline_code(mask, centre, size)
        return join(table[foreground], table[background], centre, size, code)[..., 0, 0].transpose(1, 2)


def coordinates(times: int = LATENT_FRAMES, frame_index: int = 0) -> Tensor:
    """(3, times): seconds, y and x of tokens, as the pipeline makes them."""
    frames = (torch.arange(times) * PATCH_FRAMES + 1 - PATCH_FRAMES).clamp(min=0) + frame_index
    nothing = torch.zeros(times)
    return torch.stack([frames / FRAME_RATE, nothing, nothing])


def caption_ids(
    rng: random.Random,
    thing: int,
    motion: int,
    size: int,
    foreground: int,
    background: int,
    *,
    terse: bool = False,
) -> list[int]:
    """Pieces of one caption, some parts left out, in one of several orders; empty one time in ten.

    `terse` leaves out more of what a given frame shows anyway.
    """
    if rng.random() < 0.1:
        return [PIECE_IDS["</s>"]]
    seldom, omitted = (0.4, 0.4) if terse else (0.03, 0.07)
    subject = []
    if size >= 0:
        subject.append(SIZES[size].name)
    if rng.random() > omitted:
        subject.append(COLOURS[foreground].name)
    if rng.random() > seldom:
        subject.append(THINGS[thing].name)
    action = [MOTIONS[motion].piece] if rng.random() > 0.07 else []
    ground = [COLOURS[background].background_piece] if rng.random() > omitted else []
    form = rng.random()
    if form < 0.55:
        pieces = subject + action + ground
    elif form < 0.75:
        pieces = ground + subject + action
    else:
        pieces = subject + action + ground
        rng.shuffle(pieces)
    return [PIECE_IDS[piece] for piece in pieces] + [PIECE_IDS["</s>"]]


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Clean tokens (B, S, C), their coordinates (B, 3, S), which are given (S), and captions (B, L) with masks."""

    clean: Tensor
    coords: Tensor
    given: Tensor
    ids: Tensor
    attention: Tensor


class BatchMaker:
    """Draws batches of clips that stay in the picture, and of clips that go on from another's end."""

    def __init__(self, world: World, seed: int) -> None:
        self._world = world
        self.generator = torch.Generator().manual_seed(seed)
        self.rng = random.Random(seed)

    def _colours(self, specs: ClipSpecs) -> tuple[Tensor, Tensor]:
        foreground, background = sample_colours(len(specs), self.generator)
        things, motions = specs.thing.tolist(), specs.motion.tolist()
        while True:
            pairs = zip(things, motions, foreground.tolist(), background.tolist(), strict=True)
            bad = torch.tensor([is_held_out(*pair) for pair in pairs])
            if not bad.any():
                return foreground, background
            again = sample_colours(len(specs), self.generator)
            foreground = torch.where(bad, again[0], foreground)
            background = torch.where(bad, again[1], background)

    def draw(self, size: int, kind: str) -> Batch:
        """A batch of one kind: "text", "first" (1-3 latent frames given), "last" or "both" (frames given)."""
        leaves_canvas = kind != "text" and self.rng.random() < 0.65
        specs = sample_specs(size, self.generator, leaves_canvas=leaves_canvas)
        foreground, background = self._colours(specs)
        clean = self._world.latents(specs, foreground, background)
        coords = coordinates()
        given = torch.zeros(clean.shape[1], dtype=torch.bool)
        if kind in ("first", "both"):
            known = self.rng.choice((1, 1, 1, 2, 3)) if kind == "first" else 1
            given[:known] = True
            if known == 1:
                clean = torch.cat([self._world.seen(specs, 0, foreground, background), clean[:, 1:]], 1)
        if kind in ("last", "both"):
            key = self._world.seen(specs, NUM_FRAMES - 1, foreground, background)
            clean = torch.cat([key, clean], 1)
            coords = torch.cat([coordinates(1, NUM_FRAMES - 1), coords], 1)
            given = torch.cat([torch.ones(1, dtype=torch.bool), given])
        ids = torch.zeros(size, MAX_TOKENS, dtype=torch.long)
        columns = (specs.thing, specs.motion, specs.size, foreground, background)
        for row, values in enumerate(zip(*(column.tolist() for column in columns), strict=True)):
            caption = caption_ids(self.rng, *values, terse=kind != "text")
            ids[row, : len(caption)] = torch.tensor(caption)
        # Captions are short: encoding padding would be a fifth of the training.
        ids = ids[:, : int((ids != PIECE_IDS["<pad>"]).sum(1).max())]
        return Batch(
            clean=clean,
            coords=coords.unsqueeze(0).expand(size, -1, -1),
            given=given,
            ids=ids,
            attention=ids != PIECE_IDS["<pad>"],
        )
