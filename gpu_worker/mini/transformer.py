"""The mini video model's denoiser: LTX's transformer, told where each token is, predicting the clean clip."""

import math
from typing import Any

import torch
from diffusers import LTXVideoTransformer3DModel
from diffusers import (
    ModelMixin as ModelMixin,  # DiffusionPipeline.from_pretrained looks for it beside our class
)
from diffusers.configuration_utils import register_to_config
from diffusers.models.modeling_outputs import Transformer2DModelOutput
from torch import Tensor, nn


class MiniVideoTransformer3DModel(LTXVideoTransformer3DModel):
    """LTX's video transformer with two additions for a network this small.

    LTX knows only relative positions; here sines of each token's absolute time and place join its input.
    The network predicts the clean latents x0, far easier to learn than a velocity at these sizes, and `forward`
    returns the velocity (x_t - x0) / max(sigma, min_sigma) that the pipeline and its scheduler expect.
    """

    @register_to_config
    def __init__(
        self,
        in_channels: int = 34,
        out_channels: int = 34,
        patch_size: int = 1,
        patch_size_t: int = 1,
        num_attention_heads: int = 3,
        attention_head_dim: int = 64,
        cross_attention_dim: int = 192,
        num_layers: int = 5,
        activation_fn: str = "gelu-approximate",
        qk_norm: str = "rms_norm_across_heads",
        norm_elementwise_affine: bool = False,
        norm_eps: float = 1e-6,
        caption_channels: int = 128,
        attention_bias: bool = True,
        attention_out_bias: bool = True,
        min_sigma: float = 0.04,
        position_extent: tuple[float, float, float] = (0.64, 288.0, 288.0),
        position_frequencies: tuple[float, ...] = (0.5, 1.0, 2.0, 3.0),
    ) -> None:
        """`position_extent` is the reach of (seconds, y px, x px) in `video_coords`."""
        super().__init__(
            in_channels=in_channels,
            out_channels=out_channels,
            patch_size=patch_size,
            patch_size_t=patch_size_t,
            num_attention_heads=num_attention_heads,
            attention_head_dim=attention_head_dim,
            cross_attention_dim=cross_attention_dim,
            num_layers=num_layers,
            activation_fn=activation_fn,
            qk_norm=qk_norm,
            norm_elementwise_affine=norm_elementwise_affine,
            norm_eps=norm_eps,
            caption_channels=caption_channels,
            attention_bias=attention_bias,
            attention_out_bias=attention_out_bias,
        )
        extra = 2 * 3 * len(position_frequencies)
        self.proj_in = nn.Linear(in_channels + extra, num_attention_heads * attention_head_dim)

    def _positions(self, video_coords: Tensor) -> Tensor:
        """Sines and cosines of absolute places: (B, 3, tokens) -> (B, tokens, 6 * frequencies)."""
        extent = torch.tensor(self.config.position_extent, device=video_coords.device, dtype=torch.float32)
        frequencies = torch.tensor(
            self.config.position_frequencies, device=video_coords.device, dtype=torch.float32
        )
        angles = (video_coords.float() / extent[None, :, None]).unsqueeze(-1) * frequencies * math.pi
        angles = angles.permute(0, 2, 1, 3).flatten(2)
        return torch.cat([angles.sin(), angles.cos()], -1)

    def predict_clean(
        self,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor,
        timestep: Tensor,
        encoder_attention_mask: Tensor | None,
        video_coords: Tensor,
        **unused: Any,
    ) -> Tensor:
        """x0 of noisy latents (B, tokens, channels); `timestep` is 1000 sigma, (B, 1) or (B, tokens)."""
        positions = self._positions(video_coords).to(hidden_states.dtype)
        return super().forward(
            hidden_states=torch.cat([hidden_states, positions], -1),
            encoder_hidden_states=encoder_hidden_states,
            timestep=timestep,
            encoder_attention_mask=encoder_attention_mask,
            video_coords=video_coords,
            return_dict=False,
        )[0]

    def forward(  # type: ignore[override]  # LTX's forward, but video_coords is required
        self,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor,
        timestep: Tensor,
        encoder_attention_mask: Tensor | None = None,
        video_coords: Tensor | None = None,
        attention_kwargs: dict[str, Any] | None = None,
        return_dict: bool = True,
        **unused: Any,
    ) -> Transformer2DModelOutput | tuple[Tensor]:
        """Velocity of noisy latents; called by LTXConditionPipeline."""
        if video_coords is None:
            raise ValueError("the mini model needs video_coords: run it under LTXConditionPipeline")
        clean = self.predict_clean(
            hidden_states, encoder_hidden_states, timestep, encoder_attention_mask, video_coords
        )
        sigma = (
            (timestep.float() / 1000).reshape(hidden_states.shape[0], -1, 1).clamp(min=self.config.min_sigma)
        )
        velocity = ((hidden_states.float() - clean.float()) / sigma).to(hidden_states.dtype)
        return Transformer2DModelOutput(sample=velocity) if return_dict else (velocity,)
