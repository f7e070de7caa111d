"""LTX-Video of Lightricks, in diffusers' format. Costs and memory as in `wan`: published, not measured by us."""

from datetime import date
from types import MappingProxyType

from backend.recipes.recipe import (
    Capability,
    Cost,
    Length,
    MemorySwitch,
    Range,
    Recipe,
    Size,
    Weights,
)

_FPS = 24

LTX_0_9_5 = Recipe(
    name="ltx-0.9.5",
    revision="1",
    released=date(2026, 11, 21),
    family="ltx",
    title="LTX-Video 2B",
    summary="Quick clips from text or from a picture, on one 24 GB card.",
    licence="LTX-Video 0.9.5 Open RAIL-M",
    weights=Weights(
        hub_id="Lightricks/LTX-Video-0.9.5",
        hub_revision="e58e28c39631af4d1468ee57a853764e11c1d37e",
        saved_as=("LTXPipeline",),
    ),
    pipeline_class="LTXConditionPipeline",
    memory_gb=22,
    needs_gpu=True,
    sizes=(
        Size(width=768, height=512),
        Size(width=512, height=768),
        Size(width=704, height=480),
    ),
    pixel_multiple=32,
    lengths=(
        Length(seconds="4", num_frames=97),
        Length(seconds="5", num_frames=121),
        Length(seconds="2", num_frames=49),
        Length(seconds="8", num_frames=193),
    ),
    frame_multiple=8,
    fps=_FPS,
    steps=Range(low=10, high=100, default=40),
    guidance=Range(low=1.0, high=10.0, default=3.0),
    draft_steps=20,
    capabilities=frozenset(
        {
            Capability.TEXT,
            Capability.NEGATIVE_PROMPT,
            Capability.IMAGE,
            Capability.IMAGE_STRENGTH,
            Capability.LAST_FRAME,
        }
    ),
    # Two seconds for 768x512, 121 frames, 20 steps on an H100 (arxiv.org/abs/2501.00103).
    cost=Cost(base_gpu_s=0.6, gpu_s_per_mpxf_step=0.0015, load_s=60.0, credits_per_gpu_s=1.0),
    call=MappingProxyType(
        {
            "frame_rate": _FPS,
            "max_sequence_length": 256,
            # Its decoder takes the last denoising step: the values that its authors give for 0.9.1 and later.
            "decode_timestep": 0.05,
            "decode_noise_scale": 0.025,
            # Above 0 the pipeline keeps the first latents in a local variable, and a resume would be only close.
            "image_cond_noise_scale": 0.0,
        }
    ),
    memory_switches=(MemorySwitch.VAE_TILING,),
    negative_prompt="worst quality, inconsistent motion, blurry, jittery, distorted",
    examples=(
        "A woman with long brown hair turns towards the camera and smiles, soft daylight from a window, close-up",
        "A clear turquoise river flows through a rocky canyon, seen from a slowly rising drone",
        "Steam rises from a cup of coffee on a wooden table, morning light, the camera slowly moves closer",
    ),
)

LTX = (LTX_0_9_5,)
