"""Measures the shipped mini video model on prompts and seeds it has never met.

Colours, shape and motion are read from pixels by code that never sees the model. Run
`python -m gpu_worker.mini.gate` for the whole gate with its report, or `--rendered` to test the test itself.
"""

import argparse
import json
import random
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from backend.recipes.mini_world import (
    CANVAS_UNITS,
    COLOURS,
    FRAME_PX,
    MOTIONS,
    SIZES,
    THINGS,
    varied_caption,
)
from gpu_worker.mini.clips import MaskDrawer, paint, sample_specs
from gpu_worker.mini.pipeline import SHIPPED_WEIGHTS, call_arguments, load_pipeline
from gpu_worker.mini.shapes import FORMS, KINDS
from gpu_worker.mini.training_data import is_held_out

READING_PX: Final = 72
"""Clips are pooled to this size before shapes are fitted."""
MOVED_UNITS: Final = 8.0
RESIZED_RATIO: Final = 1.7
SHAPE_FRAMES: Final = (0, 5, 11, 16)
SHAPES_IN_GATE: Final = 136
GLYPHS_IN_GATE: Final = 64


@dataclass(frozen=True, kw_only=True)
class Case:
    """One prompt and seed, and what the clip should show."""

    prompt: str
    seed: int
    shape: str
    colour: str
    background: str
    motion: str
    is_glyph: bool


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What a clip shows; `iou` is that of its frames with the template that fits them best."""

    shape: str
    colour: str
    background: str
    motion: str
    iou: float


def held_out_cases(
    shapes: int = SHAPES_IN_GATE, glyphs: int = GLYPHS_IN_GATE, seed: int = 20261121
) -> list[Case]:
    """Seeded prompts of combinations that were kept from training, shapes first."""
    rng = random.Random(seed)
    cases: list[Case] = []
    while len(cases) < shapes + glyphs:
        wants_glyph = len(cases) >= shapes
        thing = rng.randrange(4, 8) if wants_glyph else rng.randrange(4)
        motion = rng.randrange(len(MOTIONS))
        colour, background = rng.sample(range(len(COLOURS)), 2)
        if not is_held_out(thing, motion, colour, background):
            continue
        resizes = MOTIONS[motion].name in ("growing", "shrinking")
        size = None if resizes or rng.random() < 0.6 else rng.choice(SIZES)
        prompt = varied_caption(
            rng.choice,
            shape=THINGS[thing],
            motion=MOTIONS[motion],
            colour=COLOURS[colour],
            background=COLOURS[background],
            size=size,
        )
        cases.append(
            Case(
                prompt=prompt,
                seed=1000 + len(cases),
                shape=THINGS[thing].name,
                colour=COLOURS[colour].name,
                background=COLOURS[background].name,
                motion=MOTIONS[motion].name,
                is_glyph=wants_glyph,
            )
        )
    return cases


class ClipReader:
    """Reads colours, shape and motion from frames. Knows the world's templates and nothing of the model."""

    def __init__(self) -> None:
        self._drawer = MaskDrawer()
        self._kinds = torch.tensor([*range(4)] + [kind for kind in range(4, 8) for _ in range(FORMS)])
        self._forms = torch.tensor([0] * 4 + list(range(FORMS)) * 4)
        count = len(self._kinds)
        half, radius = CANVAS_UNITS / 2, torch.full((count,), 16.0)
        middle = torch.full((count,), half)
        plain = self._drawer.draw(self._kinds, self._forms, middle, middle, radius, READING_PX)
        self._unit_area, x, y = _moments(plain)
        self._unit_area = self._unit_area / 16.0**2
        self._shift_x, self._shift_y = (x - half) / 16.0, (y - half) / 16.0

    def read(self, frames: np.ndarray) -> Reading:
        """Read a clip (frames, height, width, 3), uint8."""
        clip = torch.from_numpy(frames.astype(np.float32)).permute(0, 3, 1, 2)
        clip = torch.nn.functional.interpolate(clip, (READING_PX, READING_PX), mode="area")
        edge = torch.cat([clip[:, :, 0], clip[:, :, -1], clip[:, :, :, 0], clip[:, :, :, -1]], -1)
        background = edge.permute(1, 0, 2).flatten(1).median(1).values
        offset = clip - background.view(1, 3, 1, 1)
        distance = offset.pow(2).sum(1).sqrt()
        strong = distance > 0.7 * distance.quantile(0.999) if distance.numel() < 2**24 else distance > 60
        foreground = clip.permute(1, 0, 2, 3)[:, strong].median(1).values
        towards = foreground - background
        mask = (offset * towards.view(1, 3, 1, 1)).sum(1) / towards.pow(2).sum().clamp(min=1.0)
        mask = mask.clamp(0, 1)
        shape, iou = self._fit(mask)
        return Reading(
            shape=shape,
            colour=_nearest_colour(foreground),
            background=_nearest_colour(background),
            motion=_motion(mask),
            iou=iou,
        )

    def _fit(self, masks: Tensor) -> tuple[str, float]:
        by_kind = torch.zeros(len(KINDS))
        best: list[float] = []
        for frame in SHAPE_FRAMES:
            mask = masks[frame]
            area, x, y = _moments(mask[None])
            if float(area) < 12.0:
                best.append(0.0)
                continue
            radius = (area / self._unit_area).sqrt()
            guess = torch.stack([x - self._shift_x * radius, y - self._shift_y * radius, radius], 1)
            scores = self._iou(mask, self._kinds, self._forms, guess)
            finalists = scores.topk(4).indices
            kinds, forms, fit = self._kinds[finalists], self._forms[finalists], guess[finalists]
            scores = scores[finalists]
            for step in (0.08, 0.03, 0.012):
                moves = torch.cartesian_prod(*[torch.tensor([-1.0, 0.0, 1.0])] * 3) * step
                tried = fit[:, None] + moves[None] * fit[:, 2].view(-1, 1, 1)
                flat = tried.reshape(-1, 3)
                found = self._iou(mask, kinds.repeat_interleave(27), forms.repeat_interleave(27), flat).view(
                    -1, 27
                )
                scores, chosen = found.max(1)
                fit = tried[torch.arange(len(fit)), chosen]
            frame_best = torch.zeros(len(KINDS)).scatter_reduce(0, kinds, scores, "amax")
            by_kind += frame_best
            best.append(float(frame_best.max()))
        return THINGS[int(by_kind.argmax())].name, float(np.mean(best))

    def _iou(self, mask: Tensor, kinds: Tensor, forms: Tensor, fit: Tensor) -> Tensor:
        drawn = self._drawer.draw(kinds, forms, fit[:, 0], fit[:, 1], fit[:, 2].clamp(min=1.0), READING_PX)
        return torch.minimum(drawn, mask).sum((1, 2)) / torch.maximum(drawn, mask).sum((1, 2))


def _moments(masks: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Area and centroid of masks (N, size, size), in canvas units."""
    size = masks.shape[-1]
    unit = CANVAS_UNITS / size
    axis = (torch.arange(size) + 0.5) * unit
    weight = masks.sum((1, 2)).clamp(min=1e-6)
    x = (masks.sum(1) * axis).sum(1) / weight
    y = (masks.sum(2) * axis).sum(1) / weight
    return weight * unit**2, x, y


def _motion(masks: Tensor) -> str:
    area, x, y = _moments((masks > 0.5).float())
    dx, dy = float(x[-1] - x[0]), float(y[-1] - y[0])
    if max(abs(dx), abs(dy)) > MOVED_UNITS:
        if abs(dx) > abs(dy):
            return "right" if dx > 0 else "left"
        return "down" if dy > 0 else "up"
    ratio = float(area[-1] / area[0].clamp(min=1e-3))
    if ratio > RESIZED_RATIO:
        return "growing"
    return "shrinking" if ratio < 1 / RESIZED_RATIO else "still"


def _nearest_colour(rgb: Tensor) -> str:
    table = torch.tensor([colour.rgb for colour in COLOURS], dtype=torch.float32)
    return COLOURS[int((table - rgb).pow(2).sum(1).argmin())].name


def rendered_clips(cases: Sequence[Case]) -> list[np.ndarray]:
    """Truly drawn clips of `cases`: what a perfect model would make."""
    drawer = MaskDrawer()
    clips = []
    things = {thing.name: index for index, thing in enumerate(THINGS)}
    motions = {motion.name: index for index, motion in enumerate(MOTIONS)}
    colours = {colour.name: index for index, colour in enumerate(COLOURS)}
    for case in cases:
        generator = torch.Generator().manual_seed(case.seed)
        specs = sample_specs(2000, generator)
        row = ((specs.thing == things[case.shape]) & (specs.motion == motions[case.motion])).nonzero()[0]
        mask = drawer.draw_clips(specs.select(row), FRAME_PX)
        clip = paint(mask, torch.tensor([colours[case.colour]]), torch.tensor([colours[case.background]]))
        clips.append(((clip[0] + 1) * 127.5).round().clamp(0, 255).byte().permute(1, 2, 3, 0).numpy())
    return clips


def generated_clips(
    cases: Sequence[Case], weights: Path = SHIPPED_WEIGHTS, *, steps: int = 16, guidance_scale: float = 1.5
) -> list[np.ndarray]:
    """Clips of `cases` from the model, with the settings that the studio uses; eight at a time."""
    pipeline = load_pipeline(weights)
    clips: list[np.ndarray] = []
    for start in range(0, len(cases), 8):
        part = cases[start : start + 8]
        result = pipeline(
            prompt=[case.prompt for case in part],
            negative_prompt=[""] * len(part),
            **call_arguments(steps),
            guidance_scale=guidance_scale,
            generator=[torch.Generator().manual_seed(case.seed) for case in part],
            output_type="np",
        )
        clips.extend(np.round(clip * 255).astype(np.uint8) for clip in result.frames)
    return clips


def score(cases: Sequence[Case], readings: Sequence[Reading]) -> dict[str, float]:
    """Shares of right colours, backgrounds, motions and shapes, of clips right in all, and the mean IoU."""
    pairs = list(zip(cases, readings, strict=True))
    names = ("colour", "background", "motion", "shape")
    table = {
        name: sum(getattr(case, name) == getattr(reading, name) for case, reading in pairs) / len(pairs)
        for name in names
    }
    table["all"] = sum(is_right(case, reading) for case, reading in pairs) / len(pairs)
    table["mean_iou"] = sum(reading.iou for _, reading in pairs) / len(pairs)
    return {"clips": len(pairs), **{name: round(value, 4) for name, value in table.items()}}


def is_right(case: Case, reading: Reading) -> bool:
    """Whether a clip shows all that was asked for."""
    return all(
        getattr(case, name) == getattr(reading, name) for name in ("colour", "background", "motion", "shape")
    )


def sheet(rows: Sequence[tuple[str, np.ndarray]], *, frames: int = 8, tile_px: int = 96) -> Image.Image:
    """Clips as rows of frames under their captions."""
    caption_px = 14
    height = tile_px + caption_px
    picture = Image.new("RGB", (frames * (tile_px + 2), max(1, len(rows)) * height), "white")
    draw = ImageDraw.Draw(picture)
    for row, (caption, clip) in enumerate(rows):
        draw.text((2, row * height), caption, fill="black")
        for column in range(frames):
            frame = Image.fromarray(clip[round(column * (len(clip) - 1) / (frames - 1))])
            picture.paste(
                frame.resize((tile_px, tile_px), Image.Resampling.LANCZOS),
                (column * (tile_px + 2), row * height + caption_px),
            )
    return picture


def save_sheet(rows: Sequence[tuple[str, np.ndarray]], path: Path) -> None:
    """Write a sheet as a PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet(rows).save(path, optimize=True)


def main(argv: list[str] | None = None) -> None:
    """Run the gate and write its report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, default=SHIPPED_WEIGHTS)
    parser.add_argument(
        "--rendered", action="store_true", help="gate truly drawn clips instead of the model's"
    )
    parser.add_argument("--shapes", type=int, default=SHAPES_IN_GATE)
    parser.add_argument("--glyphs", type=int, default=GLYPHS_IN_GATE)
    parser.add_argument("--steps", type=int, default=16)
    parser.add_argument("--guidance-scale", type=float, default=1.5)
    parser.add_argument("--report", type=Path, help="folder for mini-gate.json and the two sheets")
    args = parser.parse_args(argv)
    cases = held_out_cases(args.shapes, args.glyphs)
    started = time.monotonic()
    if args.rendered:
        clips = rendered_clips(cases)
    else:
        clips = generated_clips(cases, args.weights, steps=args.steps, guidance_scale=args.guidance_scale)
    generated_s = time.monotonic() - started
    reader = ClipReader()
    readings = [reader.read(clip) for clip in clips]
    everything = list(zip(cases, readings, clips, strict=True))
    parts = {"all": everything, "shapes": [], "glyphs": []}
    for item in everything:
        parts["glyphs" if item[0].is_glyph else "shapes"].append(item)
    table = {name: score([i[0] for i in part], [i[1] for i in part]) for name, part in parts.items() if part}
    failures = [
        {**asdict(case), "read": asdict(reading)}
        for case, reading, _ in everything
        if not is_right(case, reading)
    ]
    print(json.dumps({"generation_s_per_clip": round(generated_s / len(cases), 3), **table}, indent=1))
    for failure in failures[:20]:
        print(failure["prompt"], failure["seed"], "read as", failure["read"])
    if args.report:
        args.report.mkdir(parents=True, exist_ok=True)
        report = {
            "steps": args.steps,
            "guidance_scale": args.guidance_scale,
            "table": table,
            "failures": failures,
        }
        (args.report / "mini-gate.json").write_text(json.dumps(report, indent=1) + "\n")
        samples = parts["shapes"][:9] + parts["glyphs"][:5]
        save_sheet(
            [(case.prompt, clip) for case, _, clip in samples], args.report / "images/mini-gate-samples.png"
        )
        everything.sort(key=lambda item: (is_right(item[0], item[1]), item[1].iou))
        worst = [
            (
                f"{case.prompt}  [read: {reading.colour} {reading.shape} {reading.motion} "
                f"on {reading.background}, IoU {reading.iou:.3f}]",
                clip,
            )
            for case, reading, clip in everything[:8]
        ]
        save_sheet(worst, args.report / "images/mini-gate-worst.png")


if __name__ == "__main__":
    main()
