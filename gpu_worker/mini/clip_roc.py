"""Measures the shipped mini CLIP: on held-out drawn frames, and on clips that the mini video model renders.

`python -m gpu_worker.mini.clip_roc drawn` and `... generated`. Seeds here are none of the trainer's.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import av
import numpy as np
import open_clip
import torch
from torch import Tensor

from backend.recipes.mini_world import FPS
from gpu_worker.mini.clip_frames import GLYPH_KINDS, KINDS, colour_frames, degrade, draw_pool
from gpu_worker.mini.train_clip import PROMPT_SET

REPOSITORY: Final = Path(__file__).resolve().parents[2]
WEIGHTS_DIR: Final = REPOSITORY / "moderation" / "weights" / "mini_clip"
VIDEO_DIR: Final = Path(__file__).parent / "weights" / "video"
HELD_OUT_SEED: Final = 90_210
CLIP_SEED: Final = 4_242
BAD: Final = ("weapon", "skull", "blood", "splash")
"""Labels that count against a frame. A splatter counts in every colour: in the mini world it is always blood,
and the model tells its form far better than its colour.
"""
BAD_KINDS: Final = (*GLYPH_KINDS, "splash")
OPERATING_POINTS: Final = (0.5, 0.7, 0.9)
SAFE_CLIPS: Final = ("circle", "square", "triangle", "star")


@dataclass(frozen=True, kw_only=True)
class Point:
    """At one threshold: the share of safe frames flagged, of the four shapes' frames, and recall by glyph."""

    threshold: float
    false_positives: float
    false_positives_on_shapes: float
    recall: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Roc:
    """What the classifier reaches on one set of frames; `flagged` is the share flagged at .5 by kind."""

    frames: int
    auc: float
    auc_clean: float
    auc_degraded: float
    points: tuple[Point, ...]
    flagged: dict[str, float]


def load(folder: Path = WEIGHTS_DIR) -> tuple[Any, Tensor, Tensor]:
    """The model, the prompt set's embeddings, and which of them are bad (a boolean mask)."""
    name = f"local-dir:{folder}"
    model = open_clip.create_model(name, precision="fp32").eval().requires_grad_(False)
    tokens = open_clip.get_tokenizer(name)(list(PROMPT_SET.values()))
    texts = model.encode_text(tokens, normalize=True)
    return model, texts, torch.tensor([label in BAD for label in PROMPT_SET])


@torch.inference_mode()
def badness(folder: Path, pixels: Tensor) -> Tensor:
    """S of each frame (N, 3, 64, 64) in [0, 1]: the probability that it shows any of the bad things."""
    model, texts, is_bad = load(folder)
    parts = []
    for batch in pixels.split(256):
        seen = model.encode_image(batch * 2 - 1, normalize=True)
        parts.append((model.logit_scale.exp() * seen @ texts.T).softmax(dim=1)[:, is_bad].sum(dim=1))
    return torch.cat(parts)


def measure_drawn(folder: Path = WEIGHTS_DIR, count: int = 8_000, seed: int = HELD_OUT_SEED) -> Roc:
    """Measure on `count` newly drawn frames, the second half of them degraded."""
    masks, kinds = draw_pool(count, seed)
    generator = torch.Generator().manual_seed(seed)
    pixels = colour_frames(masks, kinds, generator, degraded=0.0).pixels
    half = count // 2
    pixels[half:] = degrade(pixels[half:], generator)
    scores = badness(folder, pixels)
    is_glyph = torch.tensor([kind in BAD_KINDS for kind in KINDS])[kinds]
    is_shape = torch.tensor([kind in SAFE_CLIPS for kind in KINDS])[kinds]
    return Roc(
        frames=count,
        auc=area(scores, is_glyph),
        auc_clean=area(scores[:half], is_glyph[:half]),
        auc_degraded=area(scores[half:], is_glyph[half:]),
        points=tuple(
            Point(
                threshold=threshold,
                false_positives=_share(scores[~is_glyph] > threshold),
                false_positives_on_shapes=_share(scores[is_shape] > threshold),
                recall={kind: _share(scores[kinds == KINDS.index(kind)] > threshold) for kind in BAD_KINDS},
            )
            for threshold in OPERATING_POINTS
        ),
        flagged={kind: _share(scores[kinds == index] > 0.5) for index, kind in enumerate(KINDS)},
    )


def area(scores: Tensor, is_bad: Tensor) -> float:
    """ROC-AUC by ranks (ties share theirs): the chance that a bad frame scores above a safe one."""
    _values, inverse, counts = torch.unique(scores, return_inverse=True, return_counts=True)
    upper = counts.cumsum(0).double()
    ranks = (upper - (counts.double() - 1) / 2)[inverse]
    bad, safe = int(is_bad.sum()), int((~is_bad).sum())
    return float((ranks[is_bad].sum() - bad * (bad + 1) / 2) / (bad * safe))


def write_thresholds(folder: Path = WEIGHTS_DIR, count: int = 8_000) -> Path:
    """Measure and write `thresholds.json` beside the weights: the prompts, the operating points, the seed."""
    path = folder / "thresholds.json"
    content = {
        "prompts": PROMPT_SET,
        "bad": list(BAD),
        "held_out_seed": HELD_OUT_SEED,
        "drawn": asdict(measure_drawn(folder, count)),
    }
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return path


def measure_generated(
    video_pipeline_dir: Path = VIDEO_DIR, *, clips: int = 48, steps: int = 16, seed: int = CLIP_SEED
) -> dict[str, Any]:
    """Render clips of both kinds, half safe shapes and half glyphs, with the mini video model, and judge each.

    Returns verdict counts by kind, and each clip's prompt, verdict and scores. See `judge_encoded`.
    """
    from gpu_worker.mini import gate  # the drawn measurement needs no video model

    cases = gate.held_out_cases(clips // 2, clips - clips // 2, seed)
    made = gate.generated_clips(cases, video_pipeline_dir, steps=steps)
    return judge_encoded([(case.shape, case.prompt) for case in cases], made)


def measure_rendered(*, clips: int = 96, degraded: bool = False, seed: int = CLIP_SEED) -> dict[str, Any]:
    """The same with truly drawn clips, as a perfect video model would make them; `degraded`: blurred and
    encoded coarsely.
    """
    from gpu_worker.mini import gate

    cases = gate.held_out_cases(clips // 2, clips - clips // 2, seed)
    made = gate.rendered_clips(cases)
    if degraded:
        made = [_blur(frames) for frames in made]
    return judge_encoded([(case.shape, case.prompt) for case in cases], made, crf=36 if degraded else 20)


def judge_encoded(
    labels: Sequence[tuple[str, str]],
    clips: Sequence["np.ndarray[Any, np.dtype[np.uint8]]"],
    *,
    crf: int = 20,
) -> dict[str, Any]:
    """Judge clips (T, H, W, 3) as the studio does, from mp4 files. `labels` are (kind, prompt) of each.

    The verdicts come from `python -m moderation.evaluate clips`, a process of its own: a GPU worker does not
    judge what it makes.
    """
    with tempfile.TemporaryDirectory() as folder:
        listing = []
        for index, ((kind, prompt), frames) in enumerate(zip(labels, clips, strict=True)):
            path = Path(folder) / f"{index:04d}.mp4"
            write_clip(frames, path, crf=crf)
            listing.append({"file": path.name, "kind": kind, "prompt": prompt})
        (Path(folder) / "clips.json").write_text(json.dumps(listing), encoding="utf-8")
        done = subprocess.run(
            [sys.executable, "-m", "moderation.evaluate", "clips", folder, "--json"],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            check=True,
        )
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def _blur(frames: "np.ndarray[Any, np.dtype[np.uint8]]") -> "np.ndarray[Any, np.dtype[np.uint8]]":
    pixels = torch.from_numpy(frames.copy()).permute(0, 3, 1, 2).float()
    soft = torch.nn.functional.avg_pool2d(pixels, 7, stride=1, padding=3, count_include_pad=False)
    return soft.round().byte().permute(0, 2, 3, 1).numpy()


def write_clip(frames: "np.ndarray[Any, np.dtype[np.uint8]]", path: Path, *, crf: int = 20) -> None:
    """Encode frames (T, H, W, 3) as H.264, as the studio's clips are."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"crf": str(crf)})
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def _share(flags: Tensor) -> float:
    return round(float(flags.float().mean()), 4) if flags.numel() else 0.0


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line of this module."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    drawn = commands.add_parser("drawn", help="measure on drawn frames and write thresholds.json")
    drawn.add_argument("--weights", type=Path, default=WEIGHTS_DIR)
    drawn.add_argument("--count", type=int, default=8_000)
    generated = commands.add_parser("generated", help="render clips of both kinds and judge them")
    generated.add_argument("--video", type=Path, default=VIDEO_DIR)
    generated.add_argument("--clips", type=int, default=48)
    rendered = commands.add_parser("rendered", help="the same with truly drawn clips")
    rendered.add_argument("--clips", type=int, default=96)
    rendered.add_argument("--degraded", action="store_true")
    chosen = parser.parse_args(arguments)
    if chosen.command == "drawn":
        print(write_thresholds(chosen.weights, chosen.count).read_text(encoding="utf-8"))
        return
    if chosen.command == "generated":
        answer = measure_generated(chosen.video, clips=chosen.clips)
    else:
        answer = measure_rendered(clips=chosen.clips, degraded=chosen.degraded)
    for clip in answer["clips"]:
        print(f"{clip['verdict']:<7} {clip['kind']:<13} {clip['scores']} {clip['prompt']}")
    print(json.dumps(answer["verdicts"], indent=1))


if __name__ == "__main__":
    main()
