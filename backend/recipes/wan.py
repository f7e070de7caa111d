"""Wan 2.1 and 2.2 of the Wan team (Alibaba), in diffusers' format.

Costs and memory come from what their authors publish, by arithmetic; nothing here is measured by us. What follows from
what, and how to measure your own card, is in docs/models.md.
"""

from dataclasses import replace
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

_FIRST_OFFERED = date(2026, 11, 21)
_LICENCE = "Apache-2.0"
_BY_TEXT = frozenset({Capability.TEXT, Capability.NEGATIVE_PROMPT})
# Its codec bands and flickers in half precision, as its authors and diffusers' documentation say.
_CODEC_IN_FULL = MappingProxyType({"vae": "float32"})
_CALL = MappingProxyType({"max_sequence_length": 512})
_NEGATIVE_PROMPT = (
    "Bright tones, overexposed, static, blurred details, subtitles, style, works, paintings, images, static, overall "
    "gray, worst quality, low quality, JPEG compression residue, ugly, incomplete, extra fingers, poorly drawn hands, "
    "poorly drawn faces, deformed, disfigured, misshapen limbs, fused fingers, still picture, messy background, three "
    "legs, many people in the background, walking backwards"
)
_EXAMPLES = (
    "A grey cat walks along a garden wall at dusk, warm backlight, shallow depth of field, the camera follows it",
    "Waves break over black rocks under a stormy sky, slow motion, seen from above",
    "A paper boat sails down a rain-filled gutter, close to the water, cinematic",
)
# Trained at five seconds, 16 frames a second.
_LENGTHS_16 = (Length(seconds="5", num_frames=81), Length(seconds="3", num_frames=49))
_SIZES_480P = (Size(width=832, height=480), Size(width=480, height=832))

WAN_2_1_1_3B = Recipe(
    name="wan-2.1-1.3b",
    revision="1",
    released=_FIRST_OFFERED,
    family="wan",
    title="Wan 2.1 1.3B",
    summary="Five seconds of nearly anything at 480p, on one 24 GB card.",
    licence=_LICENCE,
    weights=Weights(
        hub_id="Wan-AI/Wan2.1-T2V-1.3B-Diffusers",
        hub_revision="0fad780a534b6463e45facd96134c9f345acfa5b",
        download_gb=28.9,
    ),
    pipeline_class="WanPipeline",
    component_dtypes=_CODEC_IN_FULL,
    memory_gb=20,
    needs_gpu=True,
    sizes=_SIZES_480P,
    pixel_multiple=16,
    lengths=_LENGTHS_16,
    frame_multiple=4,
    fps=16,
    steps=Range(low=10, high=100, default=50),
    guidance=Range(low=1.0, high=12.0, default=5.0),
    draft_steps=20,
    capabilities=_BY_TEXT,
    # "About 4 minutes" for 832x480, 81 frames, 50 steps on an RTX 4090 (github.com/Wan-Video/Wan2.1).
    cost=Cost(base_gpu_s=10.0, gpu_s_per_mpxf_step=0.142, load_s=60.0, credits_per_gpu_s=0.25),
    call=_CALL,
    memory_switches=(MemorySwitch.VAE_TILING,),
    negative_prompt=_NEGATIVE_PROMPT,
    examples=_EXAMPLES,
)

WAN_2_1_14B = replace(
    WAN_2_1_1_3B,
    name="wan-2.1-14b",
    title="Wan 2.1 14B",
    summary="The large Wan 2.1: better motion and detail at 480p, on one 80 GB card.",
    weights=Weights(
        hub_id="Wan-AI/Wan2.1-T2V-14B-Diffusers",
        hub_revision="38ec498cb3208fb688890f8cc7e94ede2cbd7f68",
        download_gb=80.4,
    ),
    memory_gb=60,
    # An estimate: 6.1 times the 1.3B's arithmetic, on a card 2.5 times as fast as an RTX 4090.
    cost=Cost(base_gpu_s=15.0, gpu_s_per_mpxf_step=0.35, load_s=180.0, credits_per_gpu_s=1.0),
)

WAN_2_2_5B = Recipe(
    name="wan-2.2-5b",
    revision="1",
    released=_FIRST_OFFERED,
    family="wan",
    title="Wan 2.2 5B",
    summary="Five seconds at 720p and 24 frames a second, from text or from a picture, on one 48 GB card.",
    licence=_LICENCE,
    weights=Weights(
        hub_id="Wan-AI/Wan2.2-TI2V-5B-Diffusers",
        hub_revision="b8fff7315c768468a5333511427288870b2e9635",
        download_gb=34.2,
    ),
    pipeline_class="WanPipeline",
    image_pipeline_class="WanImageToVideoPipeline",
    component_dtypes=_CODEC_IN_FULL,
    memory_gb=40,
    needs_gpu=True,
    sizes=(Size(width=1280, height=704), Size(width=704, height=1280)),
    pixel_multiple=32,
    lengths=(Length(seconds="5", num_frames=121), Length(seconds="3", num_frames=73)),
    frame_multiple=4,
    fps=24,
    steps=Range(low=10, high=100, default=50),
    guidance=Range(low=1.0, high=12.0, default=5.0),
    draft_steps=20,
    capabilities=_BY_TEXT | {Capability.IMAGE},
    # "Under 9 minutes" for 1280x704, 121 frames, 50 steps on an RTX 4090 (huggingface.co/Wan-AI/Wan2.2-TI2V-5B).
    cost=Cost(base_gpu_s=20.0, gpu_s_per_mpxf_step=0.095, load_s=80.0, credits_per_gpu_s=0.25),
    call=_CALL,
    memory_switches=(MemorySwitch.VAE_TILING,),
    negative_prompt=_NEGATIVE_PROMPT,
    examples=_EXAMPLES,
)

WAN = (WAN_2_1_1_3B, WAN_2_2_5B, WAN_2_1_14B)
