"""The mini video model's codec: a clip as two colours, the track of one thing and the thing's outline."""

from typing import Final

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.autoencoders.vae import DecoderOutput, DiagonalGaussianDistribution
from diffusers.models.modeling_outputs import AutoencoderKLOutput
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn

from gpu_worker.mini.shapes import FORMS, KINDS, PLAIN_SHAPES, draw_masks, stable_forms

CANVAS: Final = 64.0
FULL_PX: Final = 288
COARSE_PX: Final = 96
"""Clips are pooled to this size before they are encoded."""
PATCH_FRAMES: Final = 4
WINDOW_PX: Final = 32
OUTLINE_PX: Final = 144
REACH: Final = 2.3
"""Outlines are looked at in a window this many sizes to either side of the thing's centre."""
SIZE_UNIT: Final = 8.0
COLOURS: Final = slice(0, 6)
TRACK: Final = slice(6, 6 + 3 * PATCH_FRAMES)
OUTLINE: Final = TRACK.stop
EDGE_PX: Final = 1.5
FAINT: Final = 0.2
ONE_COLOUR: Final = 0.5
"""Colours nearer than this are one. The world's nearest two, orange and yellow, are .73 apart (black and white 3.3)."""
KNOWN_DISTANCE: Final = 1.5
"""Of coefficients: those of whole drawings lie up to .9 from their outline's, of 99 in 100 photographs over 1.2."""
PLAIN: Final = 0.04
"""Mean error of a picture as two colours: up to .033 for drawings with a camera's grain, over .05 for photographs."""


class MiniVideoCodec(ModelMixin, ConfigMixin):
    """One token a latent frame: the first frame alone, or 4 further ones.

    Its channels are the background's and the foreground's RGB, x, y and log size in each of its 4 frames, and
    coefficients of the outline on fixed vectors. A network draws the outline from them as signed distances, sharp
    at any size. So the denoiser learns shapes, colours and motions once, not once for each combination and
    place. What does not fit (a photograph, say) comes back as one plain shape in its place and colours.
    """

    @register_to_config
    def __init__(
        self, outline_size: int = 16, scaling_factor: float = 1.0, timestep_conditioning: bool = False
    ) -> None:
        """`outline_size` is the number of coefficients of an outline."""
        super().__init__()
        channels = OUTLINE + outline_size
        self.register_buffer("outline_mean", torch.zeros(WINDOW_PX**2))
        self.register_buffer("outline_basis", torch.zeros(WINDOW_PX**2, outline_size))
        self.register_buffer("latents_mean", torch.zeros(channels))
        self.register_buffer("latents_std", torch.ones(channels))
        self.drawer = OutlineDrawer(outline_size)
        self.spatial_compression_ratio = FULL_PX
        self.temporal_compression_ratio = PATCH_FRAMES

    def encode(self, x: Tensor, return_dict: bool = True) -> AutoencoderKLOutput | tuple[object]:
        """Clips in [-1, 1], (B, 3, 4k+1, 288, 288), to a distribution without spread over (B, C, k+1, 1, 1)."""
        coarse = F.interpolate(x.flatten(0, 1).float(), (COARSE_PX, COARSE_PX), mode="area").unflatten(
            0, x.shape[:2]
        )
        foreground, background, mask = separate(coarse)
        centre, size = measure(mask)
        code = self.outline_code(mask, centre, size)
        leaves = is_plain(coarse, foreground, background, mask) & is_cut_off(mask)
        code = torch.where(leaves.unsqueeze(-1), code, self.understood(code))
        latents = join(foreground, background, centre, size, code).to(x.dtype)
        posterior = DiagonalGaussianDistribution(torch.cat([latents, torch.zeros_like(latents)], 1))
        posterior.std = torch.zeros_like(latents)
        return AutoencoderKLOutput(latent_dist=posterior) if return_dict else (posterior,)

    def outline_code(self, mask: Tensor, centre: Tensor, size: Tensor) -> Tensor:
        """Outline coefficients (B, F, K) of masks (B, F, H, W) with their centres (B, F, 2) and sizes (B, F)."""
        batch, frames, height, width = mask.shape
        axis = torch.linspace(-REACH, REACH, WINDOW_PX, device=mask.device)
        grid = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), -1)
        places = centre[:, :, None, None] + size[:, :, None, None, None] * grid
        places = (places / (CANVAS / 2) - 1).flatten(0, 1)
        window = F.grid_sample(mask.reshape(-1, 1, height, width), places, align_corners=False)
        code = (window.flatten(1) - self.outline_mean.float()) @ self.outline_basis.float()
        return code.unflatten(0, (batch, frames))

    def understood(self, code: Tensor) -> Tensor:
        """Outline coefficients (B, F, K), where an outline that is none of the world's is its nearest plain shape's.

        So a photograph becomes a circle, say, in its own colours and place. As it is, the denoiser would take most
        blots for a glyph: 19 of 24 photographs.
        """
        known = self._known_codes().to(code)
        distance = torch.cdist(code, known.expand(code.shape[0], -1, -1))
        nearest = known[distance[..., :PLAIN_SHAPES].argmin(-1)]
        return torch.where(distance.amin(-1, keepdim=True) > KNOWN_DISTANCE, nearest, code)

    def _known_codes(self) -> Tensor:
        """Coefficients (N, K) of all outlines of the world, plain shapes first; made in 20 ms, for given pictures."""
        masks = []
        for index, kind in enumerate(KINDS):
            forms = stable_forms(1 if index < PLAIN_SHAPES else FORMS)
            middle = torch.full((len(forms),), CANVAS / 2)
            masks.append(draw_masks(kind, COARSE_PX, cx=middle, cy=middle, radius=middle / 2, form=forms))
        drawn = torch.cat(masks).unsqueeze(1).to(self.outline_mean.device)
        return self.outline_code(drawn, *measure(drawn))[:, 0]

    def decode(
        self, z: Tensor, timestep: Tensor | None = None, return_dict: bool = True
    ) -> DecoderOutput | tuple[Tensor]:
        """Latents (B, C, T, 1, 1) to clips in [-1, 1], (B, 3, 4 (T - 1) + 1, 288, 288)."""
        tokens = z[..., 0, 0].transpose(1, 2)
        batch, times, _ = tokens.shape
        colours = each_frame(one_colour(tokens[..., COLOURS])).transpose(1, 2)[..., None, None]
        background, foreground = colours[:, :3], colours[:, 3:]
        track = tokens[..., TRACK].unflatten(2, (3, PATCH_FRAMES))
        first = track[:, :1].mean(-1).unsqueeze(-1).transpose(1, 2).flatten(2)
        later = track[:, 1:].transpose(1, 2).flatten(2)
        x, y, log_size = steady(torch.cat([first, later], 2)).clamp(-4, 4).unbind(1)
        outlines = self.drawer(tokens[..., OUTLINE:].flatten(0, 1)).unflatten(0, (batch, times))
        axis = (torch.arange(FULL_PX, device=z.device) + 0.5) * (CANVAS / FULL_PX)
        grid = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), -1).to(z.dtype)
        size = (log_size.exp() * SIZE_UNIT).flatten()[:, None, None]
        centre = torch.stack([x, y], -1).flatten(0, 1)[:, None, None] * (CANVAS / 4) + CANVAS / 2
        places = (grid - centre) / (size.unsqueeze(-1) * REACH)
        chosen = each_frame(outlines).flatten(0, 1).unsqueeze(1)
        distance = F.grid_sample(chosen, places, padding_mode="border", align_corners=False).squeeze(1) * size
        mask = (0.5 - distance * (FULL_PX / CANVAS / EDGE_PX)).clamp(0, 1)
        sample = torch.lerp(background, foreground, mask.unflatten(0, (batch, -1)).unsqueeze(1)).clamp(-1, 1)
        return DecoderOutput(sample=sample) if return_dict else (sample,)


def join(foreground: Tensor, background: Tensor, centre: Tensor, size: Tensor, code: Tensor) -> Tensor:
    """Latents (B, C, T, 1, 1) of colours (B, 3), centres (B, F, 2), sizes (B, F) and outlines (B, F, K)."""
    track = torch.stack(
        [
            (centre[..., 0] - CANVAS / 2) / (CANVAS / 4),
            (centre[..., 1] - CANVAS / 2) / (CANVAS / 4),
            (size / SIZE_UNIT).log(),
        ],
        -1,
    )

    def tokens(values: Tensor) -> Tensor:
        whole = torch.cat([values[:, :1].expand(-1, PATCH_FRAMES - 1, -1), values], 1)
        return whole.unflatten(1, (-1, PATCH_FRAMES))

    moves = tokens(track)
    times = moves.shape[1]
    colours = torch.cat([background, foreground], 1).unsqueeze(1).expand(-1, times, -1)
    parts = [colours, moves.transpose(2, 3).flatten(2), tokens(code).mean(2)]
    return torch.cat(parts, 2).transpose(1, 2)[..., None, None]


def is_plain(clip: Tensor, foreground: Tensor, background: Tensor, mask: Tensor) -> Tensor:
    """Whether frames (B, F) of clips (B, 3, F, H, W) are two colours and nothing else."""
    painted = torch.lerp(
        background[:, :, None, None, None], foreground[:, :, None, None, None], mask.unsqueeze(1)
    )
    return (clip - painted).abs().mean((1, 3, 4)) < PLAIN


def is_cut_off(mask: Tensor) -> Tensor:
    """Whether things (B, F) of masks (B, F, H, W) go on beyond the picture's edge."""
    edges = torch.cat([mask[..., 0, :], mask[..., -1, :], mask[..., :, 0], mask[..., :, -1]], -1)
    return edges.amax(-1) > 0.5


def one_colour(colours: Tensor) -> Tensor:
    """Colours (B, T, 6) of a clip's tokens, where those that mean the first token's are just like it.

    The first token may be a given picture. A prompt that contradicts it asks for other colours after it; otherwise
    the denoiser's small errors would tint what the picture shows.
    """
    first = colours[:, :1]
    pairs = (colours - first).unflatten(2, (2, 3))
    other = pairs.norm(dim=3, keepdim=True) > ONE_COLOUR
    return first + (pairs * other).flatten(2)


def each_frame(values: Tensor) -> Tensor:
    """What tokens (B, T, ...) say, for each frame (B, 4 (T - 1) + 1, ...): a token's last frame is as it says.

    Between two tokens that disagree a colour fades and an outline changes its form, in half a second.
    """
    weights = (torch.arange(PATCH_FRAMES, device=values.device, dtype=values.dtype) + 1) / PATCH_FRAMES
    before, after = values[:, :-1, None], values[:, 1:, None]
    between = before + weights.view(1, 1, -1, *[1] * (values.ndim - 2)) * (after - before)
    return torch.cat([values[:, :1], between.flatten(1, 2)], 1)


def steady(track: Tensor) -> Tensor:
    """Take the tremble out of tracks (B, 3, F): each frame moves to the line through its neighbourhood."""
    frames = track.shape[2]
    if frames < 5:
        return track
    kernel = torch.tensor([1.0, 2.0, 3.0, 2.0, 1.0], dtype=track.dtype, device=track.device).view(1, 1, 5) / 9
    head = 2 * track[:, :, :1] - track[:, :, 1:3].flip(2)
    tail = 2 * track[:, :, -1:] - track[:, :, -3:-1].flip(2)
    padded = torch.cat([head, track, tail], 2)
    return F.conv1d(padded.flatten(0, 1).unsqueeze(1), kernel).view_as(track)


def separate(clip: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Foreground (B, 3), background (B, 3) and mask (B, F, H, W) of clips (B, 3, F, H, W).

    The background is the border's median, the foreground the mean of what differs from it most.
    """
    border = torch.cat([clip[..., 0, :], clip[..., -1, :], clip[..., :, 0], clip[..., :, -1]], -1).flatten(2)
    background = border.median(-1).values
    offset = clip - background[:, :, None, None, None]
    distance = offset.pow(2).sum(1)
    strongest = distance.amax((1, 2, 3), keepdim=True)
    chosen = (distance >= 0.7 * strongest).unsqueeze(1).to(clip.dtype)
    towards = (offset * chosen).sum((2, 3, 4)) / chosen.sum((2, 3, 4))
    length = towards.pow(2).sum(1)[:, None, None, None]
    mask = (offset * towards[:, :, None, None, None]).sum(1) / length.clamp(min=1e-3)
    # A photograph's grain, thinly all over the picture, would count for the thing's size.
    mask = (mask - FAINT) / (1 - 2 * FAINT)
    # Where there is nothing to see, as in a plain picture, the two colours agree and the mask is empty.
    visible = (length > 0.02).to(clip.dtype)
    return background + towards, background, mask.clamp(0, 1) * visible


def measure(mask: Tensor) -> tuple[Tensor, Tensor]:
    """Centres (B, F, 2) and sizes (B, F) of masks (B, F, H, W), in canvas units; a size is the RMS radius."""
    pixels = mask.shape[-1]
    axis = (torch.arange(pixels, device=mask.device) + 0.5) * (CANVAS / pixels)
    area = mask.sum((2, 3))
    seen = area > 1.0
    area = area.clamp(min=1.0)
    columns, rows = mask.sum(2), mask.sum(3)
    x, y = (columns * axis).sum(2) / area, (rows * axis).sum(2) / area
    spread = (columns * axis**2).sum(2) / area - x**2 + (rows * axis**2).sum(2) / area - y**2
    middle = torch.full_like(x, CANVAS / 2)
    centre = torch.stack([torch.where(seen, x, middle), torch.where(seen, y, middle)], -1)
    return centre, torch.where(seen, spread.clamp(min=1.0).sqrt(), torch.ones_like(x))


class OutlineDrawer(nn.Module):
    """Signed distances to an outline, in sizes, from its coefficients; trained to snap to outlines it knows."""

    def __init__(self, outline_size: int) -> None:
        super().__init__()
        self.enter = nn.Linear(outline_size, 256)
        self.spread = nn.Linear(256, 9 * 9 * 32)
        widths = (32, 32, 24, 16)
        self.stages = nn.ModuleList(
            nn.Conv2d(before, 4 * after, 3, padding=1)
            for before, after in zip(widths, (*widths[1:], 8), strict=True)
        )
        self.leave = nn.Conv2d(8, 1, 3, padding=1)

    def forward(self, code: Tensor) -> Tensor:
        """(N, K) to (N, 144, 144); negative inside."""
        x = F.silu(self.spread(F.silu(self.enter(code)))).view(-1, 32, 9, 9)
        for stage in self.stages:
            x = F.silu(F.pixel_shuffle(stage(x), 2))
        return self.leave(x).squeeze(1)
