"""From what someone asked for to what a recipe can do: every field checked, every error naming the valid values."""

import hashlib
import json
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field

from backend.domain import pricing
from backend.domain.clean_text import is_blank, shown
from backend.domain.errors import InvalidField
from backend.domain.spec import ConditioningImage, GenerationSpec
from backend.domain.tiers import Tier
from backend.recipes import CATALOGUE, DEFAULT_RECIPE, Capability, Recipe
from backend.recipes.recipe import Range

MAX_SEED = 2**31 - 1


@dataclass(frozen=True, kw_only=True)
class ConditioningRequest:
    """An uploaded image, held at a frame (0: first, -1: last)."""

    upload_id: str
    frame_index: int = 0
    strength: float = 1.0


@dataclass(frozen=True, kw_only=True)
class GenerationRequest:
    """What a creator or a program asked for. None: the recipe's default.

    `draft_if_busy`: consent to a draft (`services/offer_draft`) if the wait is long when it is submitted.
    """

    prompt: str
    negative_prompt: str = ""
    model: str | None = None
    size: str | None = None
    seconds: str | None = None
    fps: int | None = None
    seed: int | None = None
    num_inference_steps: int | None = None
    guidance_scale: float | None = None
    conditioning: tuple[ConditioningRequest, ...] = field(default=())
    draft_if_busy: bool = False

    def fingerprint(self) -> str:
        """Equal for equal requests, whatever encoding they came in."""
        fields = {key: value for key, value in asdict(self).items() if value not in (None, "", (), False)}
        return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class ResolvedRequest:
    """A request with every value settled, its work in GPU-seconds and its price in credits."""

    recipe: Recipe
    prompt: str
    negative_prompt: str
    seconds: str
    width: int
    height: int
    num_frames: int
    fps: int
    num_inference_steps: int
    guidance_scale: float
    seed: int
    conditioning: tuple[ConditioningRequest, ...]
    gpu_s: float
    quoted: int

    def spec(self) -> GenerationSpec:
        """What is stored with the job."""
        return GenerationSpec(
            width=self.width,
            height=self.height,
            num_frames=self.num_frames,
            fps=self.fps,
            num_inference_steps=self.num_inference_steps,
            guidance_scale=self.guidance_scale,
            seed=self.seed,
            conditioning=tuple(ConditioningImage(**asdict(image)) for image in self.conditioning),
        )


def resolve(
    request: GenerationRequest,
    tier: Tier,
    *,
    catalogue: Mapping[str, Recipe] = CATALOGUE,
    default_recipe: str = DEFAULT_RECIPE,
) -> ResolvedRequest:
    """Check every field against the recipe and the tier. Raises `InvalidField` naming field and valid values."""
    recipe = _recipe(request.model, catalogue, default_recipe)
    prompt = _prompt(request.prompt, recipe)
    negative_prompt = request.negative_prompt.strip()
    if len(negative_prompt) > recipe.max_prompt_chars:
        raise InvalidField(
            f"The negative prompt has {len(negative_prompt)} characters; {recipe.max_prompt_chars} are allowed.",
            param="negative_prompt",
        )
    size_text = request.size or str(recipe.sizes[0])
    size = recipe.size(size_text)
    if size is None:
        raise InvalidField(
            f"{recipe.title} can't make {shown(size_text)!r}. Sizes: {_listed(map(str, recipe.sizes))}.",
            param="size",
        )
    seconds_text = request.seconds or recipe.lengths[0].seconds
    length = recipe.length(seconds_text)
    if length is None:
        offered = _listed(length.seconds for length in recipe.lengths)
        raise InvalidField(
            f"{recipe.title} can't make {shown(seconds_text)!r} seconds. Seconds: {offered}.", param="seconds"
        )
    if size.width * size.height > tier.max_pixels:
        raise InvalidField(
            f"{size} is larger than the {tier.name} tier allows ({tier.max_pixels} pixels).", param="size"
        )
    if float(length.seconds) > tier.max_seconds:
        raise InvalidField(
            f"{length.seconds} s is longer than the {tier.name} tier allows ({tier.max_seconds:g} s).",
            param="seconds",
        )
    if request.fps not in (None, recipe.fps):
        raise InvalidField(
            f"{recipe.title} makes {recipe.fps} frames a second. fps: {recipe.fps}.", param="fps"
        )
    steps = int(_in_range(request.num_inference_steps, recipe.steps, "num_inference_steps"))
    guidance = _in_range(request.guidance_scale, recipe.guidance, "guidance_scale")
    if request.seed is not None and not 0 <= request.seed <= MAX_SEED:
        raise InvalidField(f"A seed is a whole number from 0 to {MAX_SEED}.", param="seed")
    if request.conditioning and Capability.IMAGE not in recipe.capabilities:
        raise InvalidField(f"{recipe.title} takes no image.", param="input_reference")
    whole = all(image.strength == 1.0 for image in request.conditioning)
    if not whole and Capability.IMAGE_STRENGTH not in recipe.capabilities:
        raise InvalidField(f"{recipe.title} takes an image whole: strength is 1.", param="strength")
    cost = pricing.CostModel(
        base_gpu_s=recipe.cost.base_gpu_s,
        gpu_s_per_mpxf_step=recipe.cost.gpu_s_per_mpxf_step,
        credits_per_gpu_s=recipe.cost.credits_per_gpu_s,
    )
    work = {"width": size.width, "height": size.height, "num_frames": length.num_frames, "steps": steps}
    return ResolvedRequest(
        recipe=recipe,
        prompt=prompt,
        negative_prompt=negative_prompt,
        seconds=length.seconds,
        width=size.width,
        height=size.height,
        num_frames=length.num_frames,
        fps=recipe.fps,
        num_inference_steps=steps,
        guidance_scale=guidance,
        seed=secrets.randbelow(MAX_SEED + 1) if request.seed is None else request.seed,
        conditioning=request.conditioning,
        gpu_s=pricing.gpu_seconds(cost, **work),
        quoted=pricing.quote(cost, **work),
    )


def _recipe(model: str | None, catalogue: Mapping[str, Recipe], default: str) -> Recipe:
    recipe = catalogue.get(model or default)
    if recipe is None:
        raise InvalidField(
            f"There is no model {shown(model or '')!r} here. Models: {_listed(catalogue)}.", param="model"
        )
    return recipe


def _prompt(text: str, recipe: Recipe) -> str:
    prompt = text.strip()
    if len(prompt) > recipe.max_prompt_chars:
        raise InvalidField(
            f"The prompt has {len(prompt)} characters; {recipe.max_prompt_chars} are allowed.", param="prompt"
        )
    if is_blank(prompt):
        raise InvalidField("Say what the clip should show: the prompt is empty.", param="prompt")
    return prompt


def _in_range(value: float | None, allowed: Range[int] | Range[float], name: str) -> float:
    if value is None:
        return allowed.default
    if not allowed.low <= value <= allowed.high:
        raise InvalidField(f"{name} is from {allowed.low:g} to {allowed.high:g}, not {value:g}.", param=name)
    return value


def _listed(values: Iterable[str]) -> str:
    return ", ".join(values)
