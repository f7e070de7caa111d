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
    IMAGE_STRENGTH = "image_strength"
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


_MOST_OFF_S = 0.2
"""A length may be so far from the seconds it is offered as: codecs take one frame more than a round number."""

Number = TypeVar("Number", int, float)


@dataclass(frozen=True, kw_only=True)
class Range(Generic[Number]):
    """An allowed range of a numeric setting, with its default."""

    low: Number
    high: Number
    default: Number


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Where the weights are: a folder (`package:path` inside a package), or a hub id with its revision.

    A revision that is a commit's hash stays the same files for ever; a branch may move. `saved_as` names pipeline
    classes that their `model_index.json` may give besides the recipe's own. `download_gb`: size of what is fetched.
    """

    folder: str | None = None
    hub_id: str | None = None
    hub_revision: str = "main"
    saved_as: tuple[str, ...] = ()
    download_gb: float | None = None


@dataclass(frozen=True, kw_only=True)
class Cost:
    """GPU-seconds on the reference card of this recipe, and credits a GPU-second.

    A clip's work is `base_gpu_s + gpu_s_per_mpxf_step * megapixels * num_frames * steps`.
    """

    base_gpu_s: float
    gpu_s_per_mpxf_step: float
    load_s: float
    credits_per_gpu_s: float

    def step_gpu_s(self, gpu_s: float, steps: int) -> float:
        """The work of one step of a clip of so much work and so many steps."""
        return max(0.0, gpu_s - self.base_gpu_s) / max(1, steps)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One model preset. `revision` changes whenever the same spec would give other pixels or another price.

    `pipeline_class` is one of diffusers' by name, or `module:Class`; with `image_pipeline_class` another takes the same
    components when there is an image. `dtype` is all components' but for those in `component_dtypes`. `call` holds
    further arguments of the pipeline. `negative_prompt` is used where the creator gives none.
    Sizes are multiples of `pixel_multiple`, lengths `frame_multiple * k + 1`: what the codec and its patches take.
    With `timestep_shift` it gets explicit, shifted timesteps. `released`: when this revision was first offered.
    `memory_gb`: of the device, with the weights loaded and the largest clip under way. `needs_gpu`: a CPU would take
    hours, so a worker without a GPU doesn't serve it.
    `draft_steps`: of a draft, which is offered when the wait is long; None where fewer steps give nothing to look at.
    `memory_switches` are thrown for a job that ran out of memory where no larger worker lives. `max_batch`: so many
    clips of equal settings fit `memory_gb` together and are quicker in one pass than one by one.
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
    image_pipeline_class: str | None = None
    component_classes: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    dtype: str = "bfloat16"
    component_dtypes: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    memory_gb: float
    needs_gpu: bool = False
    sizes: tuple[Size, ...]
    pixel_multiple: int
    lengths: tuple[Length, ...]
    frame_multiple: int
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
    max_batch: int = 1
    max_prompt_chars: int = 2000
    negative_prompt: str = ""
    knows: str = ""
    examples: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuses a recipe that its own pipeline would round to something else. Raises `ValueError`."""
        for size in self.sizes:
            if size.width % self.pixel_multiple or size.height % self.pixel_multiple:
                raise ValueError(f"{self.name}: {size} is no multiple of {self.pixel_multiple}")
        for length in self.lengths:
            if length.num_frames % self.frame_multiple != 1:
                raise ValueError(
                    f"{self.name}: {length.num_frames} frames are not {self.frame_multiple}k + 1"
                )
            if abs(length.num_frames / self.fps - float(length.seconds)) > _MOST_OFF_S:
                shown_s = length.num_frames / self.fps
                raise ValueError(
                    f"{self.name}: {length.num_frames} frames are {shown_s:.2f} s, not {length.seconds} s"
                )
        for span in (self.steps, self.guidance):
            if not span.low <= span.default <= span.high:
                raise ValueError(f"{self.name}: {span.default:g} is not from {span.low:g} to {span.high:g}")

    def size(self, text: str) -> Size | None:
        """The offered size spelled `WIDTHxHEIGHT`, or None."""
        return next((size for size in self.sizes if str(size) == text), None)

    def length(self, seconds: str) -> Length | None:
        """The offered length spelled as the API does (`"2"`), or None."""
        return next((length for length in self.lengths if length.seconds == seconds), None)
