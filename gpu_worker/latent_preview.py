"""A cheap guess of the finished clip from a run in progress: its x0 estimate, decoded or only tinted."""

from typing import Any

import numpy as np
import torch

from backend.recipes import Preview
from gpu_worker.engine import Frames
from gpu_worker.resumable import ResumableRun

MOST_LATENT_FRAMES = 8


def guess_clip(
    pipe: Any, run: ResumableRun, member: int, mode: Preview, width: int, height: int, num_frames: int
) -> Frames:
    """Frames of some size of one of the run's clips: decoded where the recipe calls that quick, else tinted latents."""
    with torch.no_grad():
        estimate = _clean_estimate(run)[member : member + 1]
        latents = _unpacked(pipe, estimate, width, height, num_frames)
        if mode is Preview.DECODE and hasattr(pipe, "_denormalize_latents"):
            return _decoded(pipe, latents)
        return _tinted(latents)


def _clean_estimate(run: ResumableRun) -> torch.Tensor:
    stepped = run.stepped[0]
    if len(run.stepped) > 1 and run.stepped[1] is not None and run.stepped[1].shape == stepped.shape:
        return run.stepped[1]  # schedulers of the DDIM kind give their own estimate
    pair, sample = run.sigma_pair(), run.sample
    if pair is None or sample is None or pair[0] <= pair[1]:
        return stepped
    # A step of a flow goes straight from noise to the estimate: follow it to the end.
    return sample + (stepped.float() - sample.float()) * (pair[0] / (pair[0] - pair[1]))


def _unpacked(pipe: Any, latents: torch.Tensor, width: int, height: int, num_frames: int) -> torch.Tensor:
    """[1, C, T, H, W] from whatever order the pipeline keeps its latents in."""
    if latents.ndim == 3:
        times = (num_frames - 1) // pipe.vae_temporal_compression_ratio + 1
        rows = height // pipe.vae_spatial_compression_ratio
        columns = width // pipe.vae_spatial_compression_ratio
        patch, patch_t = pipe.transformer_spatial_patch_size, pipe.transformer_temporal_patch_size
        tokens = (times // patch_t) * (rows // patch) * (columns // patch)
        # Tokens of conditioning images lie in front of the clip's own.
        unpacked: torch.Tensor = pipe._unpack_latents(
            latents[:, -tokens:], times, rows, columns, patch, patch_t
        )
        return unpacked
    channels = getattr(pipe.transformer.config, "out_channels", None)
    if latents.shape[1] != channels and latents.shape[2] == channels:
        latents = latents.transpose(1, 2)
    return latents


def _decoded(pipe: Any, latents: torch.Tensor) -> Frames:
    vae = pipe.vae
    plain = pipe._denormalize_latents(latents, vae.latents_mean, vae.latents_std, vae.config.scaling_factor)
    picture = vae.decode(plain.to(vae.dtype), None, return_dict=False)[0][0]
    frames = ((picture.float() / 2 + 0.5).nan_to_num(0.5).clamp(0, 1) * 255).round().to(torch.uint8)
    array: Frames = frames.permute(1, 2, 3, 0).cpu().numpy()
    return array


def _tinted(latents: torch.Tensor) -> Frames:
    """The three directions in which the channels differ most, as colours: shapes and motion, not tones."""
    chosen = np.unique(np.linspace(0, latents.shape[2] - 1, MOST_LATENT_FRAMES).round().astype(int))
    some = latents[0][:, torch.from_numpy(chosen).to(latents.device)].float().nan_to_num(0.0).cpu()
    flat = some.flatten(1) - some.flatten(1).mean(1, keepdim=True)
    _, axes = torch.linalg.eigh(flat @ flat.T)
    axes = axes[:, -3:] * axes[:, -3:].sum(0).sign()
    tints = (axes.T @ flat).reshape(-1, *some.shape[1:])
    if tints.shape[0] < 3:
        tints = tints[:1].repeat(3, 1, 1, 1)
    low, high = tints.amin((1, 2, 3), keepdim=True), tints.amax((1, 2, 3), keepdim=True)
    scaled = ((tints - low) / (high - low).clamp(min=1e-6) * 255).to(torch.uint8)
    array: Frames = scaled.permute(1, 2, 3, 0).contiguous().numpy()
    return array
