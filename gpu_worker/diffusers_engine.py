"""Renders with the diffusers pipeline of a recipe; models differ by data. Only this calls diffusers."""

import gc
import inspect
import os
import platform
import re
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch

from moderation import torch_shim  # isort: skip  # before anything that imports torchvision
import diffusers
import transformers
from diffusers.pipelines.ltx.pipeline_ltx_condition import LTXVideoCondition
from PIL import Image

from backend.accelerator import no_cuda
from backend.contracts import AttemptPhase, FailureCause, Hardware
from backend.log import get_logger
from backend.operator_errors import BadSettingError
from backend.recipes import Capability, Recipe
from backend.settings import Device
from backend.weights import missing_weights, weights_folder
from gpu_worker.checkpoint import Checkpoint, request_fingerprint
from gpu_worker.engine import (
    EngineClip,
    EngineError,
    Frames,
    Hooks,
    Interruption,
    Member,
    Rendered,
    RenderRequest,
    only_clip,
)
from gpu_worker.latent_preview import guess_clip
from gpu_worker.memory_switches import memory_saved
from gpu_worker.pipelines import for_images, load_pipeline
from gpu_worker.residency import Residency
from gpu_worker.resumable import ResumableRun
from gpu_worker.tensor_state import UnknownStateError
from gpu_worker.timesteps import shifted_timesteps

log = get_logger(__name__)

torch_shim.install()

_CPU_SHARE = 0.5
_ACCELERATOR_SHARE = 0.92
_GB = 1e9


class DiffusersEngine:
    """Pipelines kept in memory, one pass at a time."""

    def __init__(self, device: Device = Device.AUTO) -> None:
        for library in (diffusers, transformers):
            talk: Any = library.utils.logging
            talk.set_verbosity_error()
            talk.disable_progress_bar()
        self._device = choose_device(device)
        self._hardware = _describe_hardware(self._device)
        share = _CPU_SHARE if self._device.type == "cpu" else _ACCELERATOR_SHARE
        self._residency: Residency[Any] = Residency(self._hardware.memory_gb * share, self._unload)

    @property
    def hardware(self) -> Hardware:
        """The device it computes on."""
        return self._hardware

    def identity(self, recipe: Recipe) -> str:
        """Recipe, dtype, library versions and hardware class: equal ones give equal bits."""
        libraries = f"torch-{torch.__version__}/diffusers-{diffusers.__version__}"
        libraries += f"/transformers-{transformers.__version__}"
        model = f"{recipe.name}@{recipe.revision}/{recipe.dtype}"
        return f"{model}/{libraries}/{self._hardware.hardware_class}"

    def resident(self) -> tuple[str, ...]:
        """Recipes whose pipelines are in memory."""
        return self._residency.names()

    def missing(self, recipe: Recipe) -> str | None:
        """What to do before this recipe can be served here; None when it can."""
        return missing_weights(recipe)

    def load(self, recipe: Recipe) -> None:
        """Bring the pipeline into memory."""
        self._pipeline(recipe)

    def generate(self, recipe: Recipe, request: RenderRequest, hooks: Hooks) -> EngineClip:
        """Render one clip. A checkpoint that doesn't fit after all is left aside."""
        return only_clip(self.generate_batch(recipe, [Member(request=request, hooks=hooks)]))

    def generate_batch(self, recipe: Recipe, members: Sequence[Member]) -> Sequence[Rendered]:
        """Render clips in one call of the pipeline, each from its own generator."""
        pipe = self._pipeline(recipe)
        if members[0].request.images:
            pipe = for_images(recipe, pipe)
        identity, first = self.identity(recipe), members[0].request
        resume = first.checkpoint
        if resume is not None and not resume.fits(identity, request_fingerprint(first.spec)):
            log.info("checkpoint.does_not_fit", recipe=recipe.name)
            resume = None
        try:
            with memory_saved(pipe, recipe.memory_switches if first.saves_memory else ()):
                if resume is not None:
                    resumed = _Rendering(pipe, recipe, members, identity, resume).run_if_fit()
                    if resumed is not None:
                        return resumed
                return _Rendering(pipe, recipe, members, identity, None).run()
        except (torch.OutOfMemoryError, MemoryError) as error:
            self._residency.drop(recipe.name)
            raise EngineError(FailureCause.OUT_OF_MEMORY, _first_line(error)) from error
        except RuntimeError as error:
            if "allocate memory" in str(error):
                self._residency.drop(recipe.name)
                raise EngineError(FailureCause.OUT_OF_MEMORY, _first_line(error)) from error
            raise

    def _pipeline(self, recipe: Recipe) -> Any:
        return self._residency.acquire(recipe.name, recipe.memory_gb, lambda: self._load(recipe))

    def _load(self, recipe: Recipe) -> Any:
        remedy, folder, started = self.missing(recipe), weights_folder(recipe), time.monotonic()
        if remedy is not None or folder is None:
            raise EngineError(FailureCause.MODEL_UNAVAILABLE, remedy or "its weights are not here")
        try:
            pipe = load_pipeline(recipe, folder).to(self._device)
        except (torch.OutOfMemoryError, MemoryError) as error:
            raise EngineError(FailureCause.OUT_OF_MEMORY, _first_line(error)) from error
        except (OSError, ValueError, AttributeError, ImportError, KeyError) as error:
            raise EngineError(
                FailureCause.MODEL_UNAVAILABLE,
                f"the weights of {recipe.name} can't be loaded: {_first_line(error)}",
            ) from error
        pipe.set_progress_bar_config(disable=True)
        log.info("model.loaded", model=recipe.name, duration_s=round(time.monotonic() - started, 2))
        return pipe

    def _unload(self, pipe: Any) -> None:
        # Moving first frees the accelerator even if something still holds the pipeline.
        if self._device.type != "cpu":
            pipe.to("cpu")
        del pipe
        gc.collect()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()


class _NobodyLeft(Exception):
    """All members were taken out: the rest of the call would be for nothing."""


class _Clip:
    """One member of a pass: the step boundary that its hooks see, and what took it out, if anything did.

    `raised`: what its hooks ended the whole pass with.
    """

    def __init__(self, rendering: "_Rendering", member: Member, index: int) -> None:
        self.hooks = member.hooks
        self.taken_out: Interruption | EngineError | None = None
        self.raised: Exception | None = None
        self._rendering = rendering
        self._request = member.request
        self._index = index

    @property
    def step(self) -> int:
        return self._rendering.state.step

    @property
    def steps(self) -> int:
        return self._rendering.state.steps

    @property
    def resumed_from_step(self) -> int:
        return self._rendering.resumed_from_step

    def checkpoint(self) -> Checkpoint | None:
        rendering = self._rendering
        try:
            arrays, state = rendering.state.snapshot(self._index)
        except UnknownStateError as error:
            log.warning("checkpoint.impossible", recipe=rendering.recipe.name, reason=str(error))
            return None
        return Checkpoint(
            step=self.step,
            identity=rendering.identity,
            request=request_fingerprint(self._request.spec),
            batch_of=len(rendering.clips),
            tensors=arrays,
            state=state,
        )

    def preview(self) -> Frames:
        spec, rendering = self._request.spec, self._rendering
        return guess_clip(
            rendering.pipe,
            rendering.state,
            self._index,
            rendering.recipe.preview,
            spec.width,
            spec.height,
            spec.num_frames,
        )

    def end_step(self, *, is_finite: bool) -> None:
        """Tell its hooks of a step, or take it out where its latents are no numbers."""
        if self.taken_out is None and not is_finite:
            message = f"latents are not finite at step {self.step}"
            self.taken_out = EngineError(FailureCause.NOT_A_NUMBER, message)
        self.hear(lambda hooks: hooks.on_step(self))

    def hear(self, tell: Callable[[Hooks], None]) -> None:
        """Tell its hooks, if it is still in; they may take it out."""
        if self.taken_out is not None:
            return
        try:
            tell(self.hooks)
        except Interruption as asked:
            self.taken_out = asked
        except Exception as error:
            self.raised = error
            raise


class _Rendering:
    """One call of a pipeline, for one clip or for several that are alike."""

    def __init__(
        self, pipe: Any, recipe: Recipe, members: Sequence[Member], identity: str, resume: Checkpoint | None
    ) -> None:
        self.pipe = pipe
        self.recipe = recipe
        self.identity = identity
        self.resumed_from_step = 0 if resume is None else resume.step
        self.clips = [_Clip(self, member, index) for index, member in enumerate(members)]
        self._specs = [member.request.spec for member in members]
        self._images = members[0].request.images
        self._resume = resume
        # On the CPU whatever the device, so that a seed gives the same noise everywhere.
        self._generators = [torch.Generator("cpu").manual_seed(spec.seed) for spec in self._specs]
        self._prepared_at = self._denoised_at = time.monotonic()
        self.state = ResumableRun(pipe, self._generators, resume, self._on_boundary, self._on_prepared)

    def run_if_fit(self) -> Sequence[Rendered] | None:
        """As `run`, from a checkpoint; None where that leads nowhere, so that the clip begins anew.

        Another host wrote it: what goes wrong after it is not yet this worker's fault, or the job's.
        """
        (clip,) = self.clips
        try:
            rendered = self.run()
        except (torch.OutOfMemoryError, MemoryError):
            raise
        except Exception as error:
            if clip.raised is error:
                raise
            log.warning(
                "checkpoint.does_not_fit", recipe=self.recipe.name, reason=f"{type(error).__name__}: {error}"
            )
            return None
        if isinstance(clip.taken_out, EngineError):
            log.warning("checkpoint.does_not_fit", recipe=self.recipe.name, reason=str(clip.taken_out))
            return None
        return rendered

    def run(self) -> Sequence[Rendered]:
        started = time.monotonic()
        self._tell(lambda hooks: hooks.on_phase(AttemptPhase.ENCODING_TEXT))
        arguments = self._arguments()
        try:
            with torch.no_grad(), self.state.installed() as wrappers:
                (videos,) = self.pipe(**arguments, **wrappers, return_dict=False)[:1]
                frames = [self._frames(clip, video) for clip, video in zip(self.clips, videos, strict=True)]
        except _NobodyLeft:
            frames = [None] * len(self.clips)
        ended, share = time.monotonic(), 1 / len(self.clips)
        rendered: list[Rendered] = []
        for clip, picture in zip(self.clips, frames, strict=True):
            if picture is None:
                assert clip.taken_out is not None
                rendered.append(clip.taken_out)
                continue
            rendered.append(
                EngineClip(
                    frames=picture,
                    steps=self.state.steps,
                    resumed_from_step=self.resumed_from_step,
                    exact_resume=self._exact(),
                    text_s=(self._prepared_at - started) * share,
                    denoise_s=(self._denoised_at - self._prepared_at) * share,
                    decode_s=(ended - self._denoised_at) * share,
                )
            )
        return rendered

    def _frames(self, clip: _Clip, video: torch.Tensor) -> Frames | None:
        if clip.taken_out is None and not bool(torch.isfinite(video).all()):
            clip.taken_out = EngineError(FailureCause.NOT_A_NUMBER, "the decoded clip is not finite")
        return None if clip.taken_out is not None else _as_frames(video)

    def _exact(self) -> bool:
        if self._resume is None:
            return True
        # LTX's condition pipeline keeps its initial latents in a local variable when it noises them again.
        noised = self._images and self.recipe.call.get("image_cond_noise_scale", 0.0)
        return self._resume.batch_of == 1 and not noised

    def _arguments(self) -> dict[str, Any]:
        spec, accepted = self._specs[0], inspect.signature(type(self.pipe).__call__).parameters
        prompts = [each.prompt for each in self._specs]
        negative = [each.negative_prompt or self.recipe.negative_prompt for each in self._specs]
        alone = len(self._specs) == 1
        offered: dict[str, Any] = {
            "prompt": prompts[0] if alone else prompts,
            "negative_prompt": None if not any(negative) else negative[0] if alone else negative,
            "width": spec.width,
            "height": spec.height,
            "num_frames": spec.num_frames,
            "num_inference_steps": spec.num_inference_steps,
            "guidance_scale": spec.guidance_scale,
            "generator": self._generators[0] if alone else self._generators,
            "output_type": "pt",
        }
        if self.recipe.timestep_shift is not None:
            offered["timesteps"] = shifted_timesteps(spec.num_inference_steps, self.recipe.timestep_shift)
        arguments = {name: value for name, value in offered.items() if name in accepted}
        arguments.update(self._conditioning(accepted))
        arguments.update(self.recipe.call)
        return arguments

    def _conditioning(self, accepted: Any) -> dict[str, Any]:
        images = self._images
        if not images:
            return {}
        if "conditions" in accepted:
            return {
                "conditions": [
                    LTXVideoCondition(
                        image=Image.fromarray(image.pixels),
                        frame_index=image.frame_index,
                        strength=image.strength,
                    )
                    for image in images
                ]
            }
        taken = {"image": 0}
        if Capability.LAST_FRAME in self.recipe.capabilities:
            taken["last_image"] = self._specs[0].num_frames - 1
        by_frame = {image.frame_index: Image.fromarray(image.pixels) for image in images}
        given = {name: by_frame.pop(at) for name, at in taken.items() if name in accepted and at in by_frame}
        if by_frame or "image" not in given:
            frames = sorted(image.frame_index for image in images)
            message = f"{self.recipe.name} can't hold images at frames {frames}"
            raise EngineError(FailureCause.BAD_ORDER, message)
        return given

    def _tell(self, tell: Callable[[Hooks], None]) -> None:
        for clip in self.clips:
            clip.hear(tell)

    def _on_prepared(self) -> None:
        self._prepared_at = self._denoised_at = time.monotonic()
        self._tell(lambda hooks: hooks.on_phase(AttemptPhase.DENOISING))

    def _on_boundary(self) -> None:
        assert self.state.latents is not None
        # This also waits for the device, so that a step is counted when it is done and not when it is queued.
        finite = torch.isfinite(self.state.latents).flatten(1).all(1).tolist()
        self._denoised_at = time.monotonic()
        for clip, is_finite in zip(self.clips, finite, strict=True):
            clip.end_step(is_finite=is_finite)
        if all(clip.taken_out is not None for clip in self.clips):
            raise _NobodyLeft
        if self.state.step == self.state.steps:
            self._tell(lambda hooks: hooks.on_phase(AttemptPhase.DECODING))


def choose_device(wanted: Device) -> torch.device:
    """The device asked for, or the best one there is. Raises `BadSettingError` for one that is not there."""
    if wanted is Device.CUDA and not torch.cuda.is_available():
        raise no_cuda(f"torch {torch.__version__} finds no GPU", "see what `zoetrope doctor` says of torch")
    if wanted is Device.MPS and not torch.backends.mps.is_available():
        raise BadSettingError("ZOETROPE_DEVICE=mps, but torch finds no Apple GPU", "set ZOETROPE_DEVICE=auto")
    if wanted is not Device.AUTO:
        return torch.device(str(wanted))
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def _as_frames(video: torch.Tensor) -> Frames:
    """[F, 3, H, W] in 0..1 to bytes [F, H, W, 3]."""
    frames = (video.float() * 255).round().clamp(0, 255).to(torch.uint8)
    array: Frames = frames.permute(0, 2, 3, 1).contiguous().cpu().numpy()
    return array


def _describe_hardware(device: torch.device) -> Hardware:
    ram_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / _GB
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        return Hardware(
            hardware_class=f"cuda-{_slug(properties.name)}",
            device=properties.name,
            memory_gb=round(properties.total_memory / _GB, 1),
        )
    if device.type == "mps":
        return Hardware(
            hardware_class=f"mps-{_slug(platform.machine())}", device="Apple GPU", memory_gb=round(ram_gb, 1)
        )
    # Sums are split over threads and vector units, so both decide the bits.
    kind = f"{platform.machine()}-{torch.backends.cpu.get_cpu_capability()}-{torch.get_num_threads()}t"
    return Hardware(
        hardware_class=f"cpu-{_slug(kind)}",
        device=f"CPU, {torch.get_num_threads()} threads",
        memory_gb=round(ram_gb, 1),
    )


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
