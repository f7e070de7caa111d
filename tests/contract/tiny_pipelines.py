"""Real diffusers pipelines with tiny random weights, made on the spot, and recipes that name them."""

import dataclasses
from pathlib import Path
from types import MappingProxyType

import torch

from moderation import torch_shim  # isort: skip  # before anything that imports torchvision
from diffusers import (
    AutoencoderKLLTXVideo,
    AutoencoderKLWan,
    FlowMatchEulerDiscreteScheduler,
    LTXConditionPipeline,
    LTXPipeline,
    LTXVideoTransformer3DModel,
    UniPCMultistepScheduler,
    WanPipeline,
    WanTransformer3DModel,
)
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast, T5Config, T5EncoderModel, UMT5Config, UMT5EncoderModel

from backend.recipes import CATALOGUE, Preview, Recipe, Weights

torch_shim.install()
# Tiny tensors gain nothing from a second thread, and beside other processes it costs ten times the time.
torch.set_num_threads(1)

WORDS = ("a", "red", "blue", "circle", "square", "moving", "right", "left", "on", "background")


def tiny_recipe(kind: str, folder: Path, **changes: object) -> Recipe:
    """A recipe whose weights are written to `folder`: kind is ltx, ltx_condition or wan."""
    torch.manual_seed(0)
    {"ltx": _save_ltx, "ltx_condition": _save_ltx_condition, "wan": _save_wan}[kind](folder)
    call: dict[str, object] = {"max_sequence_length": 16}
    if kind == "ltx_condition":
        call |= {"frame_rate": 25, "image_cond_noise_scale": 0.0}
    values: dict[str, object] = {
        "name": f"tiny-{kind.replace('_', '-')}",
        "weights": Weights(folder=str(folder)),
        "pipeline_class": {
            "ltx": "LTXPipeline",
            "ltx_condition": "LTXConditionPipeline",
            "wan": "WanPipeline",
        }[kind],
        "component_classes": MappingProxyType({}),
        "call": MappingProxyType(call),
        "preview": Preview.DECODE if kind == "ltx_condition" else Preview.LATENTS,
        "timestep_shift": 6.0 if kind == "ltx_condition" else None,
        "memory_gb": 0.1,
    }
    return dataclasses.replace(CATALOGUE["mini"], **{**values, **changes})


def tiny_of(name: str, folder: Path) -> Recipe:
    """A recipe of the catalogue as it is, but for tiny random weights of its own shape, written to `folder`."""
    torch.manual_seed(0)
    recipe = CATALOGUE[name]
    {"ltx-0.9.5": _save_ltx_0_9_5, "wan-2.1-1.3b": _save_wan, "wan-2.2-5b": _save_wan_2_2}[name](folder)
    return dataclasses.replace(
        recipe,
        weights=Weights(folder=str(folder), saved_as=recipe.weights.saved_as),
        call=MappingProxyType({**recipe.call, "max_sequence_length": 16}),
        memory_gb=0.1,
        needs_gpu=False,
    )


def _tokenizer() -> PreTrainedTokenizerFast:
    vocabulary = {word: index for index, word in enumerate(["<pad>", "</s>", "<unk>", *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    )


def _text_config() -> dict[str, int]:
    return {"vocab_size": 32, "d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2}


def _ltx_parts() -> dict[str, object]:
    vae = AutoencoderKLLTXVideo(
        latent_channels=8,
        block_out_channels=(8, 8, 8, 8),
        decoder_block_out_channels=(8, 8, 8, 8),
        layers_per_block=(1, 1, 1, 1, 1),
        decoder_layers_per_block=(1, 1, 1, 1, 1),
        spatio_temporal_scaling=(True, True, False, False),
        decoder_spatio_temporal_scaling=(True, True, False, False),
        decoder_inject_noise=(False, False, False, False, False),
        upsample_residual=(False, False, False, False),
        upsample_factor=(1, 1, 1, 1),
        timestep_conditioning=False,
        patch_size=1,
        patch_size_t=1,
        encoder_causal=True,
        decoder_causal=False,
    )
    vae.use_framewise_encoding = vae.use_framewise_decoding = False
    transformer = LTXVideoTransformer3DModel(
        in_channels=8,
        out_channels=8,
        num_attention_heads=2,
        attention_head_dim=8,
        cross_attention_dim=16,
        num_layers=1,
        caption_channels=16,
    )
    return {
        "vae": vae,
        "transformer": transformer,
        "scheduler": FlowMatchEulerDiscreteScheduler(),
        "text_encoder": T5EncoderModel(T5Config(**_text_config())).eval(),
        "tokenizer": _tokenizer(),
    }


def _save_ltx(folder: Path) -> None:
    LTXPipeline(**_ltx_parts()).save_pretrained(folder)


def _save_ltx_condition(folder: Path) -> None:
    LTXConditionPipeline(**_ltx_parts()).save_pretrained(folder)


def _save_ltx_0_9_5(folder: Path) -> None:
    """The codec of 0.9.5: patches of 4, 32 times smaller in space and 8 in time, its last step in the decoder."""
    vae = AutoencoderKLLTXVideo(
        latent_channels=8,
        block_out_channels=(8, 8, 8, 8, 8),
        down_block_types=("LTXVideo095DownBlock3D",) * 4,
        decoder_block_out_channels=(8, 8, 8),
        layers_per_block=(1, 1, 1, 1, 1),
        decoder_layers_per_block=(1, 1, 1, 1),
        spatio_temporal_scaling=(True, True, True, True),
        decoder_spatio_temporal_scaling=(True, True, True),
        decoder_inject_noise=(False, False, False, False),
        downsample_type=("spatial", "temporal", "spatiotemporal", "spatiotemporal"),
        upsample_residual=(True, True, True),
        upsample_factor=(1, 1, 1),
        timestep_conditioning=True,
        patch_size=4,
        patch_size_t=1,
        encoder_causal=True,
        decoder_causal=False,
        spatial_compression_ratio=32,
        temporal_compression_ratio=8,
    )
    # Saved as the plain pipeline, which the recipe knows: the components are the same.
    LTXPipeline(**{**_ltx_parts(), "vae": vae}).save_pretrained(folder)


def _save_wan(folder: Path) -> None:
    _wan(
        AutoencoderKLWan(
            base_dim=3,
            z_dim=16,
            dim_mult=[1, 1, 1, 1],
            num_res_blocks=1,
            temperal_downsample=[False, True, True],
        ),
        flow_shift=3.0,
    ).save_pretrained(folder)


def _save_wan_2_2(folder: Path) -> None:
    """The codec of 2.2: patches of 2, 16 times smaller in space; one pipeline for text, another for an image."""
    _wan(
        AutoencoderKLWan(
            base_dim=4,
            decoder_base_dim=4,
            z_dim=8,
            dim_mult=[1, 1, 1, 1],
            num_res_blocks=1,
            temperal_downsample=[False, True, True],
            latents_mean=[0.0] * 8,
            latents_std=[1.0] * 8,
            is_residual=True,
            in_channels=12,
            out_channels=12,
            patch_size=2,
            scale_factor_spatial=16,
        ),
        flow_shift=5.0,
        expand_timesteps=True,
    ).save_pretrained(folder)


def _wan(vae: AutoencoderKLWan, *, flow_shift: float, expand_timesteps: bool = False) -> WanPipeline:
    channels = vae.config.z_dim
    return WanPipeline(
        vae=vae,
        transformer=WanTransformer3DModel(
            patch_size=(1, 2, 2),
            num_attention_heads=2,
            attention_head_dim=12,
            in_channels=channels,
            out_channels=channels,
            text_dim=16,
            freq_dim=32,
            ffn_dim=32,
            num_layers=1,
            cross_attn_norm=True,
            qk_norm="rms_norm_across_heads",
            rope_max_seq_len=32,
        ),
        scheduler=UniPCMultistepScheduler(
            prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=flow_shift
        ),
        text_encoder=UMT5EncoderModel(UMT5Config(**_text_config())).eval(),
        tokenizer=_tokenizer(),
        expand_timesteps=expand_timesteps,
    )
