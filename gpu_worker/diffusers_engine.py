"""Renders with the diffusers pipeline of a recipe; models differ by data. Only this calls diffusers."""

import gc
import inspect
import os
import platform
import re
import time
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
from gpu_worker.engine import EngineClip, EngineError, Frames, Hooks, RenderRequest
from gpu_worker.latent_preview import guess_clip
from gpu_worker.memory_switches import memory_saved
from gpu_worker.pipelines import for_images, load_pipeline
from gpu_worker.residency import Residency
from gpu_worker.resumable import ResumableRun, ScheduleMismatchError
from gpu_worker.tensor_state import UnknownStateError
from gpu_worker.timesteps import shifted_timesteps

log = get_logger(__name__)

torch_shim.install()

_CPU_SHARE = 0.5
_ACCELERATOR_SHARE = 0.92
_GB = 1e9


class DiffusersEngine:
    """Pipelines kept in memory, one run at a time."""

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
        pipe = self._pipeline(recipe)
        if request.images:
            pipe = for_images(recipe, pipe)
        identity, fingerprint = self.identity(recipe), request_fingerprint(request.spec)
        resume = request.checkpoint
        if resume is not None and not resume.fits(identity, fingerprint):
            log.info("checkpoint.does_not_fit", recipe=recipe.name)
            resume = None
        try:
            with memory_saved(pipe, recipe.memory_switches if request.saves_memory else ()):
                try:
                    return _Rendering(pipe, recipe, request, hooks, identity, fingerprint, resume).run()
                except ScheduleMismatchError as error:
                    log.warning("checkpoint.does_not_fit", recipe=recipe.name, reason=str(error))
                return _Rendering(pipe, recipe, request, hooks, identity, fingerprint, None).run()
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


class _Rendering:
    """One call of a pipeline, and the step boundary that its hooks see."""

    def __init__(
        self,
        pipe: Any,
        recipe: Recipe,
        request: RenderRequest,
        hooks: Hooks,
        identity: str,
        fingerprint: str,
        resume: Checkpoint | None,
    ) -> None:
        self._pipe = pipe
        self._recipe = recipe
        self._request = request
        self._hooks = hooks
        self._identity = identity
        self._fingerprint = fingerprint
        self.resumed_from_step = 0 if resume is None else resume.step
        # On the CPU whatever the device, so that a seed gives the same noise everywhere.
        self._generator = torch.Generator("cpu").manual_seed(request.spec.seed)
        self._prepared_at = self._denoised_at = time.monotonic()
        self._run = ResumableRun(pipe, self._generator, resume, self._on_boundary, self._on_prepared)

    @property
    def step(self) -> int:
        return self._run.step

    @property
    def steps(self) -> int:
        return self._run.steps

    def checkpoint(self) -> Checkpoint | None:
        try:
            arrays, state = self._run.snapshot()
        except UnknownStateError as error:
            log.warning("checkpoint.impossible", recipe=self._recipe.name, reason=str(error))
            return None
        return Checkpoint(
            step=self.step, identity=self._identity, request=self._fingerprint, tensors=arrays, state=state
        )

    def preview(self) -> Frames:
        spec = self._request.spec
        return guess_clip(
            self._pipe, self._run, self._recipe.preview, spec.width, spec.height, spec.num_frames
        )

    def run(self) -> EngineClip:
        started = time.monotonic()
        self._hooks.on_phase(AttemptPhase.ENCODING_TEXT)
        arguments = self._arguments()
        with torch.no_grad(), self._run.installed() as wrappers:
            (video,) = self._pipe(**arguments, **wrappers, return_dict=False)[:1]
            frames = _as_frames(video)
        return EngineClip(
            frames=frames,
            steps=self.steps,
            resumed_from_step=self.resumed_from_step,
            exact_resume=self._exact(),
            text_s=self._prepared_at - started,
            denoise_s=self._denoised_at - self._prepared_at,
            decode_s=time.monotonic() - self._denoised_at,
        )

    def _exact(self) -> bool:
        # LTX's condition pipeline keeps its initial latents in a local variable when it noises them again.
        noised = self._recipe.call.get("image_cond_noise_scale", 0.0)
        return not (self.resumed_from_step and self._request.images and noised)

    def _arguments(self) -> dict[str, Any]:
        spec, accepted = self._request.spec, inspect.signature(type(self._pipe).__call__).parameters
        offered: dict[str, Any] = {
            "prompt": spec.prompt,
            "negative_prompt": spec.negative_prompt or self._recipe.negative_prompt or None,
            "width": spec.width,
            "height": spec.height,
            "num_frames": spec.num_frames,
            "num_inference_steps": spec.num_inference_steps,
            "guidance_scale": spec.guidance_scale,
            "generator": self._generator,
            "output_type": "pt",
        }
        if self._recipe.timestep_shift is not None:
            offered["timesteps"] = shifted_timesteps(spec.num_inference_steps, self._recipe.timestep_shift)
        arguments = {name: value for name, value in offered.items() if name in accepted}
        arguments.update(self._conditioning(accepted))
        arguments.update(self._recipe.call)
        return arguments

    def _conditioning(self, accepted: Any) -> dict[str, Any]:
        images = self._request.images
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
        if Capability.LAST_FRAME in self._recipe.capabilities:
            taken["last_image"] = self._request.spec.num_frames - 1
        by_frame = {image.frame_index: Image.fromarray(image.pixels) for image in images}
        given = {name: by_frame.pop(at) for name, at in taken.items() if name in accepted and at in by_frame}
        if by_frame or "image" not in given:
            frames = sorted(image.frame_index for image in images)
            message = f"{self._recipe.name} can't hold images at frames {frames}"
            raise EngineError(FailureCause.BAD_ORDER, message)
        return given

    def _on_prepared(self) -> None:
        self._prepared_at = self._denoised_at = time.monotonic()
        self._hooks.on_phase(AttemptPhase.DENOISING)

    def _on_boundary(self) -> None:
        assert self._run.latents is not None
        # This also waits for the device, so that a step is counted when it is done and not when it is queued.
        if not bool(torch.isfinite(self._run.latents).all()):
            raise EngineError(FailureCause.NOT_A_NUMBER, f"latents are not finite at step {self.step}")
        self._denoised_at = time.monotonic()
        self._hooks.on_step(self)
        if self.step == self.steps:
            self._hooks.on_phase(AttemptPhase.DECODING)


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
    """[1, F, 3, H, W] in 0..1 to bytes [F, H, W, 3]."""
    clip = video[0]
    if not bool(torch.isfinite(clip).all()):
        raise EngineError(FailureCause.NOT_A_NUMBER, "the decoded clip is not finite")
    frames = (clip.float() * 255).round().clamp(0, 255).to(torch.uint8)
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
