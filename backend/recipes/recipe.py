"""What a recipe is: a versioned model preset, as data, read by UI, pricing and worker alike."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from types import MappingProxyType
from typing import Generic, TypeVar


class Capability(StrEnum):
    """What a model can be asked for."""

    TEXT = "text"
    IMAGE = "image"
    LAST_FRAME = "last_frame"
    NEGATIVE_PROMPT = "negative_prompt"


class Preview(StrEnum):
    """How a worker guesses at a clip in progress: decode the estimate where that is quick, else tint it."""

    DECODE = "decode"
    LATENTS = "latents"


class MemorySwitch(StrEnum):
    """What a worker may do with a clip that did not fit its memory. Both decode in parts, slightly otherwise."""

    VAE_TILING = "vae_tiling"
    VAE_SLICING = "vae_slicing"


@dataclass(frozen=True, kw_only=True)
class Size:
    """Pixels of a clip."""

    width: int
    height: int

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"


@dataclass(frozen=True, kw_only=True)
class Length:
    """A length on offer: `seconds` as the API spells it, and the frames that it means."""

    seconds: str
    num_frames: int


Number = TypeVar("Number", int, float)


@dataclass(frozen=True, kw_only=True)
class Range(Generic[Number]):
    """An allowed range of a numeric setting, with its default."""

    low: Number
    high: Number
    default: Number


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Where the weights are: a folder (`package:path` inside a package), or a hub id with its revision."""

    folder: str | None = None
    hub_id: str | None = None
    hub_revision: str | None = None


@dataclass(frozen=True, kw_only=True)
class Cost:
    """GPU-seconds on the reference card of this recipe, and credits a GPU-second.

    A clip's work is `base_gpu_s + gpu_s_per_mpxf_step * megapixels * num_frames * steps`.
    """

    base_gpu_s: float
    gpu_s_per_mpxf_step: float
    load_s: float
    credits_per_gpu_s: float


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One model preset. `revision` changes whenever the same spec would give other pixels or another price.

    `pipeline_class` is one of diffusers' by name, or `module:Class`. `call` holds further arguments of the pipeline.
    With `timestep_shift` it gets explicit, shifted timesteps. `released`: when this revision was first offered.
    `draft_steps`: of a draft, which is offered when the wait is long; None where fewer steps give nothing to look at.
    `memory_switches` are thrown for a job that ran out of memory where no larger worker lives.
    """

    name: str
    revision: str
    released: date
    family: str
    title: str
    summary: str
    licence: str
    weights: Weights
    pipeline_class: str
    component_classes: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    dtype: str = "bfloat16"
    memory_gb: float
    sizes: tuple[Size, ...]
    lengths: tuple[Length, ...]
    fps: int
    steps: Range[int]
    guidance: Range[float]
    draft_steps: int | None = None
    capabilities: frozenset[Capability]
    cost: Cost
    call: Mapping[str, object] = field(default_factory=lambda: MappingProxyType({}))
    timestep_shift: float | None = None
    preview: Preview = Preview.LATENTS
    checkpoint_every_s: float = 20.0
    memory_switches: tuple[MemorySwitch, ...] = ()
    max_prompt_chars: int = 2000
    knows: str = ""
    examples: tuple[str, ...] = ()

    def size(self, text: str) -> Size | None:
        """The offered size spelled `WIDTHxHEIGHT`, or None."""
        return next((size for size in self.sizes if str(size) == text), None)

    def length(self, seconds: str) -> Length | None:
        """The offered length spelled as the API does (`"2"`), or None."""
        return next((length for length in self.lengths if length.seconds == seconds), None)
