"""The mini video model as a diffusers pipeline: put together, saved, loaded.

Loading needs no code of ours where two classes are named (a recipe's `component_classes` does):
    transformer -> gpu_worker.mini.transformer:MiniVideoTransformer3DModel
    vae         -> gpu_worker.mini.codec:MiniVideoCodec
Calling: LTXConditionPipeline with height=288, width=288, num_frames=17 (4k+1), guidance_scale=1.5,
num_inference_steps=16, and always frame_rate=25, max_sequence_length=12, image_cond_noise_scale=0.0 and the
`timesteps` of a schedule shifted by 6 (`shifted_timesteps`). A first frame is a condition at frame_index 0 (1, 5 or
9 frames), a last frame one at frame_index 16. Played at 8 frames a second.
"""

from pathlib import Path
from typing import Final

import torch
from diffusers import FlowMatchEulerDiscreteScheduler, LTXConditionPipeline
from diffusers.pipelines.ltx.pipeline_ltx_condition import LTXVideoCondition as LTXVideoCondition
from transformers import PreTrainedTokenizerFast, T5EncoderModel

from gpu_worker.mini.codec import MiniVideoCodec
from gpu_worker.mini.text import build_tokenizer
from gpu_worker.mini.transformer import MiniVideoTransformer3DModel

SHIPPED_WEIGHTS: Final = Path(__file__).parent / "weights" / "video"
TIMESTEP_SHIFT: Final = 6.0


def shifted_timesteps(steps: int, shift: float = TIMESTEP_SHIFT) -> list[float]:
    """Timesteps from 1000 downwards that stay long at high noise, where a clip's contents are decided."""
    sigmas = [1 - step / steps for step in range(steps)]
    return [1000 * shift * sigma / (1 + (shift - 1) * sigma) for sigma in sigmas]


def assemble(
    transformer: MiniVideoTransformer3DModel, text_encoder: T5EncoderModel, codec: MiniVideoCodec
) -> LTXConditionPipeline:
    """A pipeline of trained parts."""
    return LTXConditionPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=codec,
        text_encoder=text_encoder,
        tokenizer=build_tokenizer(),
        transformer=transformer,
    )


def load_pipeline(
    path: Path = SHIPPED_WEIGHTS, device: str = "cpu", dtype: torch.dtype = torch.float32
) -> LTXConditionPipeline:
    """The saved pipeline; on CPUs use float32, whatever the files hold."""
    pipeline = LTXConditionPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler.from_pretrained(path / "scheduler"),
        vae=MiniVideoCodec.from_pretrained(path / "vae", torch_dtype=dtype),
        text_encoder=T5EncoderModel.from_pretrained(path / "text_encoder", dtype=dtype),
        tokenizer=PreTrainedTokenizerFast.from_pretrained(path / "tokenizer"),
        transformer=MiniVideoTransformer3DModel.from_pretrained(path / "transformer", torch_dtype=dtype),
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline.to(device)
