"""Trains the mini video model from scratch: seeded, resumable, planned by minutes or by steps, on CPU or CUDA.

Run as `zoetrope train-mini`. Stages: the codec (minutes, see `outlines`), the denoiser with its text encoder
(most of the time), and the finished pipeline in fp16.
"""

import argparse
import json
import logging
import math
import os
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from diffusers.models.transformers.transformer_ltx import apply_rotary_emb
from torch import Tensor, nn
from transformers import T5EncoderModel

from backend.settings import load_settings
from gpu_worker.mini.clips import MaskDrawer
from gpu_worker.mini.codec import OUTLINE, MiniVideoCodec
from gpu_worker.mini.muon import Muon
from gpu_worker.mini.outlines import Outlines, train_drawer
from gpu_worker.mini.pipeline import SHIPPED_WEIGHTS, assemble
from gpu_worker.mini.text import build_text_encoder
from gpu_worker.mini.training_data import Batch, BatchMaker, World
from gpu_worker.mini.transformer import MiniVideoTransformer3DModel

log = logging.getLogger("zoetrope.train_mini")

BATCH_KINDS: Final = ("text", "first", "text", "both", "text", "first", "text", "last")
"""What is given in successive batches; half of them are about frames that a creator supplies."""
HEADS: Final = 3
"""Heads of 64: the denoiser's width is 192."""
LAYERS: Final = 5
WARMUP_STEPS: Final = 60
DECAY_SHARE: Final = 0.45
MUON_RATE: Final = 0.01
ADAM_RATE: Final = 2e-3
EMA_DECAY: Final = 0.998
SAVE_EVERY_S: Final = 300.0
ERROR_BANDS: Final = (0.3, 0.6, 0.8, 0.9, 0.96, 1.01)


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How long to train: until `minutes` of training have passed, or for `steps` when that is given."""

    minutes: float
    steps: int | None
    batch_size: int

    def progress(self, step: int, elapsed_s: float) -> float:
        """Share of the training that is over, in [0, 1]."""
        done = step / self.steps if self.steps else elapsed_s / (60 * self.minutes)
        return min(done, 1.0)


def rate_factor(step: int, progress: float) -> float:
    """Warm up, hold, then fall linearly to nothing over the last part; the sharpest gain is in the fall."""
    return min(1.0, (step + 1) / WARMUP_STEPS) * min(1.0, (1.0 - progress) / DECAY_SHARE)


class PlainAttention:
    """LTX's attention written as two products: on CPUs flash attention's backward is half of a training step."""

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        image_rotary_emb: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """Same arguments and result as LTXVideoAttnProcessor."""
        source = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        query, key, value = (
            attn.norm_q(attn.to_q(hidden_states)),
            attn.norm_k(attn.to_k(source)),
            attn.to_v(source),
        )
        if image_rotary_emb is not None:
            query, key = apply_rotary_emb(query, image_rotary_emb), apply_rotary_emb(key, image_rotary_emb)
        query, key, value = (x.unflatten(2, (attn.heads, -1)).transpose(1, 2) for x in (query, key, value))
        scores = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5
        if attention_mask is not None:
            scores = scores + attention_mask.unsqueeze(1)
        out: Tensor = attn.to_out[0]((scores.softmax(-1) @ value).transpose(1, 2).flatten(2))
        return out


class Networks(nn.Module):
    """What is trained together: the denoiser and the text encoder."""

    def __init__(self, transformer: MiniVideoTransformer3DModel, text_encoder: T5EncoderModel) -> None:
        super().__init__()
        self.transformer = transformer
        self.text_encoder = text_encoder

    def forward(self, batch: Batch, noisy: Tensor, sigma: Tensor) -> Tensor:
        """x0 of `noisy` (B, S, C) at `sigma` (B, 1) or (B, S)."""
        text = self.text_encoder(batch.ids, attention_mask=batch.attention)[0]
        return self.transformer.predict_clean(noisy, text, sigma * 1000, batch.attention, batch.coords)


def build_networks(codec: MiniVideoCodec) -> Networks:
    """Untrained networks that fit `codec`."""
    channels = OUTLINE + codec.config.outline_size
    transformer = MiniVideoTransformer3DModel(
        in_channels=channels,
        out_channels=channels,
        num_attention_heads=HEADS,
        cross_attention_dim=64 * HEADS,
        num_layers=LAYERS,
    )
    return Networks(transformer, build_text_encoder())


def denoising_loss(
    networks: Networks, batch: Batch, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Weighted loss, and per clip its sigma and plain x0 error.

    Mostly high noise: below it colour and place are visible and the caption is not needed.
    """
    device = batch.clean.device
    count = batch.clean.shape[0]
    draw = torch.randn(count, generator=generator)
    sigma = torch.sigmoid(1.2 + 1.5 * draw)
    uniform = torch.rand(count, generator=generator)
    sigma = (
        torch.where(torch.rand(count, generator=generator) < 0.1, uniform, sigma).clamp(0.005, 1.0).to(device)
    )
    noise = torch.randn(batch.clean.shape, generator=generator).to(device)
    noisy = torch.lerp(batch.clean, noise, sigma[:, None, None])
    if batch.given.any():
        noisy = torch.where(batch.given[None, :, None], batch.clean, noisy)
        per_token = torch.where(batch.given[None], 0.0, sigma[:, None])
        clean = networks(batch, noisy, per_token)
    else:
        clean = networks(batch, noisy, sigma[:, None])
    wanted = ~batch.given
    error = (clean - batch.clean)[:, wanted].pow(2).mean((1, 2))
    return (error / sigma.clamp(min=0.15) ** 2).mean(), sigma, error.detach()


def _matrices(networks: Networks) -> Iterator[tuple[str, nn.Parameter]]:
    for name, parameter in networks.transformer.transformer_blocks.named_parameters():
        if parameter.ndim == 2 and name.endswith(".weight"):
            yield name, parameter


class Trainer:
    """The denoiser's training as one resumable state."""

    def __init__(
        self,
        maker: BatchMaker,
        codec: MiniVideoCodec,
        schedule: Schedule,
        seed: int,
        device: str,
        compiled: bool = False,
        workers: int = 1,
    ) -> None:
        torch.manual_seed(seed)
        self.networks = build_networks(codec).to(device)
        for module in self.networks.transformer.modules():
            if hasattr(module, "set_processor"):
                module.set_processor(PlainAttention())
        if compiled:
            # Block by block: one compilation serves all six; the whole model takes minutes.
            for block in self.networks.transformer.transformer_blocks:
                block.compile()
        matrices = [parameter for _, parameter in _matrices(self.networks)]
        taken = {id(parameter) for parameter in matrices}
        rest = [parameter for parameter in self.networks.parameters() if id(parameter) not in taken]
        self.muon = Muon(matrices, lr=MUON_RATE)
        self.adam = torch.optim.Adam(rest, lr=ADAM_RATE, betas=(0.9, 0.97))
        self.ema = {name: value.detach().clone() for name, value in self.networks.state_dict().items()}
        self.maker = maker
        self.schedule = schedule
        self.device = device
        self.step = 0
        self.elapsed_s = 0.0
        self.generators = [torch.Generator().manual_seed(seed + 1 + worker) for worker in range(workers)]
        self.parameters = list(self.networks.parameters())
        self._threads = ThreadPoolExecutor(workers)

    @property
    def progress(self) -> float:
        """Share of the training that is over."""
        return self.schedule.progress(self.step, self.elapsed_s)

    def train_step(self) -> tuple[Tensor, Tensor]:
        """One step; returns sigma and x0 error of its clips."""
        started = time.monotonic()
        batch = self.maker.draw(self.schedule.batch_size, BATCH_KINDS[self.step % len(BATCH_KINDS)])
        if self.device != "cpu":
            batch = Batch(
                **{name: getattr(batch, name).to(self.device) for name in batch.__dataclass_fields__}
            )
        factor = rate_factor(self.step, self.progress)
        for optimiser, rate in ((self.muon, MUON_RATE), (self.adam, ADAM_RATE)):
            for group in optimiser.param_groups:
                group["lr"] = rate * factor
        sigma, error = self._backward(batch)
        nn.utils.clip_grad_norm_(self.adam.param_groups[0]["params"], 1.0)
        self.muon.step()
        self.adam.step()
        self.networks.zero_grad(set_to_none=True)
        decay = min(EMA_DECAY, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for name, value in self.networks.state_dict().items():
                self.ema[name].lerp_(value, 1 - decay)
        self.step += 1
        self.elapsed_s += time.monotonic() - started
        return sigma, error

    def _backward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Put the batch's gradients in place: a share of its rows in each of the threads.

        Threads that meet once a step, each with one core, make twice the steps of threads that meet in every
        product as soon as other processes want the cores too.
        """
        count = len(self.generators)

        def work(worker: int) -> tuple[tuple[Tensor, ...], Tensor, Tensor]:
            rows = slice(worker, None, count)
            share = Batch(
                clean=batch.clean[rows],
                coords=batch.coords[rows],
                given=batch.given,
                ids=batch.ids[rows],
                attention=batch.attention[rows],
            )
            loss, sigma, error = denoising_loss(self.networks, share, self.generators[worker])
            return torch.autograd.grad(loss / count, self.parameters, allow_unused=True), sigma, error

        results = (
            list(self._threads.map(work, range(count))) if self.step else [work(w) for w in range(count)]
        )
        for index, parameter in enumerate(self.parameters):
            shares = [result[0][index] for result in results if result[0][index] is not None]
            parameter.grad = torch.stack(shares).sum(0) if shares else None
        return torch.cat([result[1] for result in results]), torch.cat([result[2] for result in results])

    def save(self, path: Path) -> None:
        """Write the whole state, at once or not at all."""
        state = {
            "networks": self.networks.state_dict(),
            "ema": self.ema,
            "muon": self.muon.state_dict(),
            "adam": self.adam.state_dict(),
            "step": self.step,
            "elapsed_s": self.elapsed_s,
            "generators": [generator.get_state() for generator in self.generators],
            "batch_generator": self.maker.generator.get_state(),
            "batch_rng": self.maker.rng.getstate(),
        }
        partial = path.with_suffix(".partial")
        torch.save(state, partial)
        os.replace(partial, path)

    def load(self, path: Path) -> None:
        """Go on from a saved state."""
        # Written by `save` on this machine; the random state is a tuple, which the safe loader takes too.
        state = torch.load(path, map_location=self.device, weights_only=True)
        self.networks.load_state_dict(state["networks"])
        self.ema = state["ema"]
        self.muon.load_state_dict(state["muon"])
        self.adam.load_state_dict(state["adam"])
        self.step, self.elapsed_s = state["step"], state["elapsed_s"]
        for generator, saved in zip(self.generators, state["generators"], strict=True):
            generator.set_state(saved.cpu())
        self.maker.generator.set_state(state["batch_generator"].cpu())
        self.maker.rng.setstate(state["batch_rng"])


def prepare(folder: Path, seed: int) -> World:
    """The fitted codec, kept in `folder` or made now, and what it knows."""
    drawer = MaskDrawer()
    outlines = Outlines(drawer)
    codec_folder = folder / "codec"
    if codec_folder.exists():
        codec = MiniVideoCodec.from_pretrained(codec_folder)
        codes = outlines.codes(codec)
    else:
        codec = MiniVideoCodec()
        codes = outlines.fit_basis(codec)
        train_drawer(codec, outlines, seed=seed)
        codec.save_pretrained(codec_folder)
    codec.requires_grad_(False)
    return World(codec=codec, outlines=outlines, codes=codes, drawer=drawer)


def train_denoiser(
    folder: Path, *, seed: int, schedule: Schedule, device: str, compiled: bool, workers: int
) -> Trainer:
    """Train until the schedule is over, from the state in `folder` when there is one."""
    world = prepare(folder, seed)
    log.info("codec ready")
    trainer = Trainer(BatchMaker(world, seed), world.codec, schedule, seed, device, compiled, workers)
    state_path = folder / "denoiser.pt"
    if state_path.exists():
        trainer.load(state_path)
        log.info("resumed at step %d", trainer.step)
    saved = time.monotonic()
    sigmas: list[Tensor] = []
    errors: list[Tensor] = []
    while trainer.progress < 1.0:
        sigma, error = trainer.train_step()
        sigmas.append(sigma.cpu())
        errors.append(error.cpu())
        if not math.isfinite(float(error.mean())):
            raise FloatingPointError(f"training diverged at step {trainer.step}")
        if len(sigmas) == 100:
            _log_progress(trainer, torch.cat(sigmas), torch.cat(errors))
            sigmas, errors = [], []
        if time.monotonic() - saved > SAVE_EVERY_S:
            trainer.save(state_path)
            saved = time.monotonic()
    trainer.save(state_path)
    return trainer


def _log_progress(trainer: Trainer, sigma: Tensor, error: Tensor) -> None:
    low = 0.0
    bands = []
    for high in ERROR_BANDS:
        inside = (sigma >= low) & (sigma < high)
        bands.append(round(float(error[inside].mean()), 4) if inside.any() else None)
        low = high
    line = {
        "step": trainer.step,
        "minutes": round(trainer.elapsed_s / 60, 1),
        "s_per_step": round(trainer.elapsed_s / trainer.step, 3),
        "progress": round(trainer.progress, 3),
        "x0_error_by_noise": bands,
    }
    log.info(json.dumps(line))


def export(folder: Path, out_dir: Path) -> None:
    """Write the averaged weights in `folder` to `out_dir` as an fp16 pipeline, whole or not at all."""
    codec = MiniVideoCodec.from_pretrained(folder / "codec").float()
    networks = build_networks(codec)
    state = torch.load(folder / "denoiser.pt", map_location="cpu", weights_only=True)
    networks.load_state_dict(state["ema"])
    pipeline = assemble(networks.transformer, networks.text_encoder, codec).to(torch.float16)
    partial = out_dir.with_name(out_dir.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    pipeline.save_pretrained(partial)
    for config in partial.rglob("config.json"):
        # diffusers writes down the folder that a part was loaded from: nobody else's machine has it.
        kept = {
            name: value for name, value in json.loads(config.read_text()).items() if name != "_name_or_path"
        }
        config.write_text(json.dumps(kept, indent=2) + "\n")
    shutil.rmtree(out_dir, ignore_errors=True)
    partial.rename(out_dir)


def run(
    out_dir: Path,
    *,
    seed: int = 0,
    steps: int | None = None,
    minutes: float = 30.0,
    device: str = "cpu",
    state_dir: Path | None = None,
    batch_size: int = 128,
    compiled: bool = False,
    workers: int = 1,
) -> None:
    """Train from scratch, or go on from the state in `state_dir`, and write the pipeline to `out_dir`.

    `steps` wins over `minutes`. The state is saved every five minutes; start the same command again to resume.
    """
    folder = state_dir or load_settings().data_dir / "train-mini"
    folder.mkdir(parents=True, exist_ok=True)
    schedule = Schedule(minutes=minutes, steps=steps, batch_size=batch_size)
    train_denoiser(folder, seed=seed, schedule=schedule, device=device, compiled=compiled, workers=workers)
    export(folder, out_dir)
    log.info("pipeline written to %s", out_dir)


def main(argv: list[str] | None = None) -> None:
    """Command line of the whole training."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out-dir", type=Path, default=SHIPPED_WEIGHTS)
    parser.add_argument("--state-dir", type=Path, help="default: train-mini in the studio's data folder")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument(
        "--compile", action="store_true", help="needs a C++ compiler; pays from half an hour up"
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--workers", type=int, default=1, help="threads that share each batch, on CPU")
    parser.add_argument("--threads", type=int, default=1, help="cores of each of them")
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(args.threads)
    run(
        args.out_dir,
        seed=args.seed,
        steps=args.steps,
        minutes=args.minutes,
        device=args.device,
        state_dir=args.state_dir,
        batch_size=args.batch_size,
        compiled=args.compile,
        workers=args.workers,
    )


if __name__ == "__main__":
    main()
