"""Fits the mini codec to the world's outlines: their principal components, and the network that draws them."""

import logging
import time

import torch
from torch import Tensor

from gpu_worker.mini.clips import TABLE_REACH, MaskDrawer
from gpu_worker.mini.codec import CANVAS, COARSE_PX, OUTLINE_PX, REACH, MiniVideoCodec, measure
from gpu_worker.mini.shapes import FORMS, KINDS

log = logging.getLogger("zoetrope.train_mini")

OUTLINE_SPREAD = 1.2
CODE_NOISE = 0.45
FAR = 0.6
"""Distances are learnt up to this many sizes from the outline; beyond, only their sign matters."""


def template_index(thing: Tensor, form: Tensor) -> Tensor:
    """The outline of a thing in a form: one for each shape, FORMS for each glyph."""
    return torch.where(thing < 4, thing, 4 + (thing - 4) * FORMS + form)


class Outlines:
    """The world's outlines: relative centres (N, 2) and sizes (N) at radius 1, codes (N, K), signed distances."""

    def __init__(self, drawer: MaskDrawer) -> None:
        kinds = torch.tensor([k for k in range(len(KINDS)) for _ in range(1 if k < 4 else FORMS)])
        forms = torch.tensor([f for k in range(len(KINDS)) for f in range(1 if k < 4 else FORMS)])
        middle, radius = torch.full((len(kinds),), CANVAS / 2), torch.full((len(kinds),), 18.0)
        self.masks = drawer.draw(kinds, forms, middle, middle, radius, 2 * COARSE_PX).unsqueeze(1)
        centre, size = measure(self.masks)
        self.centre = (centre[:, 0] - CANVAS / 2) / 18.0
        self.size = size[:, 0] / 18.0
        axis = torch.linspace(-REACH, REACH, OUTLINE_PX + 1)
        axis = (axis[1:] + axis[:-1]) / 2
        grid = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), -1)
        places = (self.centre[:, None, None] + self.size[:, None, None, None] * grid) / TABLE_REACH
        tables = drawer.tables()[kinds * FORMS + forms]
        distance = torch.nn.functional.grid_sample(tables, places, padding_mode="border", align_corners=False)
        self.distances = distance.squeeze(1) / self.size[:, None, None]
        self._measured = centre, size

    def fit_basis(self, codec: MiniVideoCodec) -> Tensor:
        """Give `codec` its outline vectors; returns the templates' codes (N, K)."""
        size = codec.config.outline_size
        codec.outline_basis.copy_(torch.eye(codec.outline_basis.shape[0])[:, :size])
        centre, measured = self._measured
        pixels = torch.eye(codec.outline_basis.shape[0])
        codec.outline_mean.zero_()
        basis = codec.outline_basis
        codec.outline_basis = pixels
        windows = codec.outline_code(self.masks, centre, measured)[:, 0]
        codec.outline_basis = basis
        codec.outline_mean.copy_(windows.mean(0))
        centred = windows - codec.outline_mean
        _, values, vectors = torch.linalg.svd(centred, full_matrices=False)
        spread = values[:size] / len(windows) ** 0.5
        scale = OUTLINE_SPREAD / (spread * spread[0]).sqrt()
        codec.outline_basis.copy_(vectors[:size].T * scale)
        return self.codes(codec)

    def codes(self, codec: MiniVideoCodec) -> Tensor:
        """The templates' codes (N, K)."""
        return codec.outline_code(self.masks, *self._measured)[:, 0]


def train_drawer(codec: MiniVideoCodec, outlines: Outlines, *, seed: int, steps: int = 1500) -> None:
    """Train the network that draws outlines: from codes with noise on them to the outline that was meant."""
    torch.manual_seed(seed)
    network = codec.drawer.requires_grad_(True)
    for parameter in network.parameters():
        if parameter.ndim > 1:
            torch.nn.init.kaiming_normal_(parameter, nonlinearity="relu")
    optimiser = torch.optim.AdamW(network.parameters(), lr=2e-3, betas=(0.9, 0.98))
    codes = outlines.codes(codec)
    generator = torch.Generator().manual_seed(seed)
    started = time.monotonic()
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = 2e-3 * min(1, (step + 1) / 50) * min(1, 2 * (1 - step / steps))
        chosen = torch.randint(len(codes), (32,), generator=generator)
        noise = (
            CODE_NOISE
            * torch.rand(32, 1, generator=generator)
            * torch.randn(32, codes.shape[1], generator=generator)
        )
        goal = outlines.distances[chosen]
        drawn = network(codes[chosen] + noise)
        near = torch.exp(-((goal / 0.15) ** 2)) + 0.05
        loss = ((drawn.clamp(-FAR, FAR) - goal.clamp(-FAR, FAR)).abs() * near).mean() / 0.1
        loss = loss + 0.01 * (drawn - goal.clamp(-1.5, 1.5)).pow(2).mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        if (step + 1) % 250 == 0:
            wrong = ((drawn < 0) != (goal < 0)).float().mean()
            log.info(
                "outlines step %d, %.0f s, wrong side %.5f",
                step + 1,
                time.monotonic() - started,
                float(wrong),
            )
    network.requires_grad_(False)
