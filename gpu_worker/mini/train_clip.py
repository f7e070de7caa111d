"""Trains the mini CLIP from scratch: an open_clip model of 4.6 M parameters for the mini world's frames.

Seeded and resumable: the state beside the weights is written every 200 steps. See docs/moderation.md for what
the shipped weights reach, and `clip_roc` for how that is measured.
"""

import json
import math
import random
import time
from pathlib import Path
from typing import Any

import open_clip
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as nnf

from backend.recipes.mini_world import COLOURS
from gpu_worker.mini.clip_frames import KINDS, SAFE_KINDS, Frames, colour_frames, draw_pool
from gpu_worker.mini.muon import orthogonalise

BATCH = 64
POOL = 30_000
RENEWED = 1_000
WARMUP_STEPS = 150
PEAK_RATE = 2e-3
FILTER_RATE = 0.01
EMA = 0.998

CONFIG: dict[str, Any] = {
    "model_cfg": {
        "embed_dim": 96,
        "vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 16, "head_width": 64},
        "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2},
    },
    "preprocess_cfg": {
        "mean": [0.5, 0.5, 0.5],
        "std": [0.5, 0.5, 0.5],
        "interpolation": "bilinear",
        "resize_mode": "squash",
    },
}

WORDS: dict[str, tuple[str, ...]] = {
    "circle": ("a circle", "a disc", "a ball"),
    "square": ("a square", "a box"),
    "triangle": ("a triangle", "a pyramid"),
    "star": ("a star",),
    "ring": ("a ring", "a hoop"),
    "letter": ("a letter", "a bar"),
    "arrow": ("an arrow",),
    "smiley": ("a smiley face", "a happy face"),
    "splash": ("a paint splash", "a splash of paint"),
    "empty": ("an empty background", "nothing"),
    "weapon": ("a weapon",),
    "pistol": ("a pistol", "a gun"),
    "knife": ("a knife", "a dagger"),
    "skull": ("a skull", "bones"),
    "blood": ("blood", "a blood splatter"),
}
"""What names each class in training; the first one is what the shipped prompt set uses."""

PROMPT_SET: dict[str, str] = {name: WORDS[name][0] for name in (*SAFE_KINDS, "weapon", "skull", "blood")}


def build_model() -> open_clip.CLIP:
    """A fresh open_clip model of the shipped configuration."""
    return open_clip.CLIP(**CONFIG["model_cfg"])


def run(
    out_dir: Path | str,
    seed: int = 7,
    steps: int = 5_000,
    device: str = "cpu",
    minutes: float | None = None,
    state_dir: Path | str | None = None,
) -> Path:
    """Train for `steps` (or as many as fit in `minutes`) and write open_clip weights into `out_dir`.

    A run that was stopped goes on from `state_dir` (default: `out_dir`/state). With `minutes`, the learning
    rate follows the clock instead of the step count, so that the decay always happens. Returns `out_dir`.
    """
    target = Path(out_dir)
    state_path = Path(state_dir or target / "state") / "state.pt"
    state_path.parent.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    model = build_model().to(device)
    model.visual.to(memory_format=torch.channels_last)
    tokens_of = _token_table()
    _keep_only(model, tokens_of)
    averaged = {name: value.detach().clone() for name, value in model.state_dict().items()}
    filters = [p for name, p in model.visual.named_parameters() if p.ndim == 4 and "layer" in name]
    taken = {id(p) for p in filters}
    rest = [p for p in model.parameters() if id(p) not in taken]
    optimiser = torch.optim.AdamW(
        [
            {"params": [p for p in rest if p.ndim >= 2], "weight_decay": 0.05},
            {"params": [p for p in rest if p.ndim < 2], "weight_decay": 0.0},
        ],
        lr=PEAK_RATE,
        betas=(0.9, 0.98),
    )
    momenta = [torch.zeros_like(p) for p in filters]
    step, spent_s = 0, 0.0
    if state_path.exists():
        state = torch.load(state_path, map_location=device, weights_only=True)
        model.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
        averaged, step, spent_s = state["averaged"], state["step"], state["spent_s"]
        momenta = state["momenta"]
    pool, kinds = draw_pool(POOL, seed * 1_000_003 + step)
    rng = random.Random(seed * 31 + step)
    generator = torch.Generator().manual_seed(seed * 17 + step)
    began = time.monotonic() - spent_s
    while True:
        spent_s = time.monotonic() - began
        done = step / steps if minutes is None else max(step / steps, spent_s / (60 * minutes))
        if done >= 1:
            break
        rate = (
            PEAK_RATE
            * min(1.0, (step + 1) / WARMUP_STEPS)
            * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done)))
        )
        for group in optimiser.param_groups:
            group["lr"] = rate
        chosen = torch.randint(POOL, (BATCH,), generator=generator)
        frames = colour_frames(pool[chosen], kinds[chosen], generator)
        model.train()
        loss, right = _loss(
            model, frames.pixels.to(device), frames, tokens_of, rng, contrastive=step % 16 == 15
        )
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        _step_filters(filters, momenta, rate * FILTER_RATE / PEAK_RATE)
        with torch.no_grad():
            model.logit_scale.clamp_(max=math.log(50.0))
            keep = min(EMA, (step + 1) / (step + 10))
            for name, value in model.state_dict().items():
                if value.is_floating_point():
                    averaged[name].lerp_(value, 1 - keep)
                else:
                    averaged[name].copy_(value)
        step += 1
        if step % 100 == 0:
            print(
                f"step {step} loss {loss.item():.3f} right {right:.3f} rate {rate:.5f} {spent_s:.0f} s",
                flush=True,
            )
            where = torch.randperm(POOL, generator=generator)[:RENEWED]
            pool[where], kinds[where] = draw_pool(RENEWED, seed * 1_000_003 + step)
        if step % 200 == 0:
            _write_state(state_path, model, optimiser, averaged, momenta, step, spent_s)
    _write_state(state_path, model, optimiser, averaged, momenta, step, spent_s)
    export(averaged, target)
    return target


def export(weights: dict[str, Tensor], target: Path) -> None:
    """Write weights (fp16) and configuration as open_clip's `local-dir:` loader expects them."""
    target.mkdir(parents=True, exist_ok=True)
    half = {
        name: (value.half() if value.is_floating_point() else value).contiguous().cpu()
        for name, value in weights.items()
    }
    save_file(half, target / "open_clip_model.safetensors")
    (target / "open_clip_config.json").write_text(json.dumps(CONFIG, indent=1) + "\n")


def _loss(
    model: open_clip.CLIP,
    pixels: Tensor,
    frames: Frames,
    tokens_of: dict[str, Tensor],
    rng: random.Random,
    contrastive: bool,
) -> tuple[Tensor, float]:
    images = model.encode_image(
        (pixels * 2 - 1).contiguous(memory_format=torch.channels_last), normalize=True
    )
    joined = rng.random() < 0.6
    classes = [*SAFE_KINDS, "weapon", "skull", "blood"] if joined else list(KINDS)
    of_kind = [classes.index("weapon" if joined and kind in ("pistol", "knife") else kind) for kind in KINDS]
    wanted = torch.tensor(of_kind)[frames.kinds].to(pixels.device)
    texts = model.encode_text(
        torch.stack([tokens_of[rng.choice(WORDS[name])] for name in classes]).to(pixels.device),
        normalize=True,
    )
    logits = model.logit_scale.exp() * images @ texts.T
    loss = nnf.cross_entropy(logits, wanted)
    right = (logits.argmax(dim=1) == wanted).float().mean().item()
    if contrastive:
        captions = [
            _caption(KINDS[int(kind)], COLOURS[int(ink)].name, COLOURS[int(ground)].name)
            for kind, ink, ground in zip(frames.kinds, frames.ink, frames.ground, strict=True)
        ]
        distinct = sorted(set(captions))
        rows = model.encode_text(torch.stack([tokens_of[caption] for caption in distinct]), normalize=True)
        match = torch.tensor([distinct.index(caption) for caption in captions])
        loss = loss + 0.1 * nnf.cross_entropy(model.logit_scale.exp() * images @ rows.T, match)
    return loss, right


def _caption(kind: str, ink: str, ground: str) -> str:
    if kind == "empty":
        return f"an empty {ground} background"
    return f"a {ink} {kind} on a {ground} background"


def _token_table() -> dict[str, Tensor]:
    tokenizer = open_clip.SimpleTokenizer(context_length=16)
    captions = {
        _caption(kind, ink.name, ground.name) for kind in KINDS for ink in COLOURS for ground in COLOURS
    }
    texts = sorted(captions | {word for words in WORDS.values() for word in words})
    return dict(zip(texts, tokenizer(texts), strict=True))


def _keep_only(model: open_clip.CLIP, tokens_of: dict[str, Tensor]) -> None:
    """Zero the token rows that no text here uses, and keep them there: they compress to nothing in git."""
    used = torch.zeros(model.token_embedding.num_embeddings, 1)
    used[torch.unique(torch.cat(list(tokens_of.values())))] = 1.0
    used = used.to(model.token_embedding.weight.device)
    with torch.no_grad():
        model.token_embedding.weight.mul_(used)


@torch.no_grad()
def _step_filters(filters: list[Tensor], momenta: list[Tensor], rate: float) -> None:
    """Muon on convolution filters, each seen as a matrix (outputs, everything else)."""
    for weight, momentum in zip(filters, momenta, strict=True):
        if weight.grad is None:
            continue
        momentum.lerp_(weight.grad, 0.05)
        update = torch.lerp(weight.grad, momentum, 0.95).flatten(1)
        update = orthogonalise(update.unsqueeze(0))[0] * (0.2 * max(update.shape) ** 0.5)
        weight.mul_(1 - rate * 0.05).sub_(update.view(weight.shape), alpha=rate)


def _write_state(
    path: Path,
    model: open_clip.CLIP,
    optimiser: torch.optim.Optimizer,
    averaged: dict[str, Tensor],
    momenta: list[Tensor],
    step: int,
    spent_s: float,
) -> None:
    fresh = path.with_suffix(".new")
    torch.save(
        {
            "model": model.state_dict(),
            "optimiser": optimiser.state_dict(),
            "averaged": averaged,
            "momenta": momenta,
            "step": step,
            "spent_s": spent_s,
        },
        fresh,
    )
    fresh.replace(path)
