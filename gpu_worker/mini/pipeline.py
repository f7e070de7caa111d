"""The mini video model as a diffusers pipeline: put together, saved, loaded.

Loading needs no code of ours where three classes are named (a recipe's `pipeline_class` and `component_classes` do):
    the pipeline -> gpu_worker.mini.pipeline:MiniVideoPipeline
    transformer  -> gpu_worker.mini.transformer:MiniVideoTransformer3DModel
    vae          -> gpu_worker.mini.codec:MiniVideoCodec
Calling: with `call_arguments` and guidance_scale=1.5. A first frame is a condition at frame_index 0 (1, 5 or 9
frames). Played at 8 frames a second.
"""

import functools
import inspect
from pathlib import Path
from typing import Any, Final

import torch
from diffusers import FlowMatchEulerDiscreteScheduler, LTXConditionPipeline
from diffusers.pipelines.ltx.pipeline_ltx_condition import LTXVideoCondition as LTXVideoCondition
from transformers import PreTrainedTokenizerFast, T5EncoderModel

from backend.recipes.mini import MINI
from backend.recipes.mini_world import FRAME_PX, NUM_FRAMES, completed
from gpu_worker.mini.codec import MiniVideoCodec
from gpu_worker.mini.text import build_tokenizer
from gpu_worker.mini.transformer import MiniVideoTransformer3DModel
from gpu_worker.timesteps import shifted_timesteps, with_sigmas

SHIPPED_WEIGHTS: Final = Path(__file__).parent / "weights" / "video"


class MiniVideoPipeline(LTXConditionPipeline):
    """LTXConditionPipeline that completes prompts, each by the seed of its generator, before it reads them."""

    @functools.wraps(LTXConditionPipeline.__call__)
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """What LTXConditionPipeline answers. Embeddings instead of a prompt are taken as they are."""
        call = inspect.signature(LTXConditionPipeline.__call__).bind_partial(self, *args, **kwargs)
        given = call.arguments
        prompt, generator = given.get("prompt"), given.get("generator")
        if prompt is not None:
            prompts = [prompt] if isinstance(prompt, str) else prompt
            generators = generator if isinstance(generator, list) else [generator] * len(prompts)
            from_picture = any(given.get(name) is not None for name in ("conditions", "image", "video"))
            read = [
                completed(each, seeded.initial_seed() if seeded else 0, from_picture=from_picture)
                for each, seeded in zip(prompts, generators, strict=False)
            ]
            given["prompt"] = read[0] if isinstance(prompt, str) else read
        return super().__call__(*call.args[1:], **call.kwargs)


def call_arguments(steps: int) -> dict[str, Any]:
    """What every call of the pipeline is given besides prompt and seed: as the recipe says, so as the studio does."""
    assert MINI.timestep_shift is not None
    return {
        "height": FRAME_PX,
        "width": FRAME_PX,
        "num_frames": NUM_FRAMES,
        "num_inference_steps": steps,
        "timesteps": shifted_timesteps(steps, MINI.timestep_shift),
        **MINI.call,
    }


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
) -> MiniVideoPipeline:
    """The saved pipeline; on CPUs use float32, whatever the files hold."""
    pipeline = MiniVideoPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler.from_pretrained(path / "scheduler"),
        vae=MiniVideoCodec.from_pretrained(path / "vae", torch_dtype=dtype),
        text_encoder=T5EncoderModel.from_pretrained(path / "text_encoder", dtype=dtype),
        tokenizer=PreTrainedTokenizerFast.from_pretrained(path / "tokenizer"),
        transformer=MiniVideoTransformer3DModel.from_pretrained(path / "transformer", torch_dtype=dtype),
    )
    pipeline.scheduler.set_timesteps = with_sigmas(pipeline.scheduler.set_timesteps)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline.to(device)
