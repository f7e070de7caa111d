"""The embedded model: a genuine diffusers pipeline of a tiny world, for machines without a GPU."""

from datetime import date
from types import MappingProxyType

from backend.recipes.mini_world import EXAMPLE_PROMPTS, FPS, FRAME_PX, MAX_TOKENS, NUM_FRAMES, describe
from backend.recipes.recipe import Capability, Cost, Length, Preview, Range, Recipe, Size, Weights

MINI = Recipe(
    name="mini",
    revision="2",
    released=date(2026, 11, 21),
    family="mini",
    title="Mini",
    summary="The embedded model. Coloured shapes that move, in seconds, on any machine.",
    licence="MIT",
    weights=Weights(folder="gpu_worker:mini/weights/video", saved_as=("LTXConditionPipeline",)),
    pipeline_class="gpu_worker.mini.pipeline:MiniVideoPipeline",
    component_classes=MappingProxyType(
        {
            "transformer": "gpu_worker.mini.transformer:MiniVideoTransformer3DModel",
            "vae": "gpu_worker.mini.codec:MiniVideoCodec",
        }
    ),
    dtype="float32",
    memory_gb=0.5,
    sizes=(Size(width=FRAME_PX, height=FRAME_PX),),
    pixel_multiple=32,
    lengths=(Length(seconds="2", num_frames=NUM_FRAMES),),
    frame_multiple=8,
    fps=FPS,
    steps=Range(low=4, high=400, default=16),
    guidance=Range(low=1.0, high=6.0, default=1.5),
    draft_steps=8,
    capabilities=frozenset({Capability.TEXT, Capability.IMAGE, Capability.IMAGE_STRENGTH}),
    cost=Cost(base_gpu_s=0.6, gpu_s_per_mpxf_step=0.02, load_s=2.0, credits_per_gpu_s=2.0),
    call=MappingProxyType(
        {"frame_rate": 25, "max_sequence_length": MAX_TOKENS, "image_cond_noise_scale": 0.0}
    ),
    timestep_shift=6.0,
    preview=Preview.DECODE,
    checkpoint_every_s=5.0,
    max_prompt_chars=500,
    knows=describe(),
    examples=EXAMPLE_PROMPTS,
)
