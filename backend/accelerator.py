"""Whether the accelerator that ZOETROPE_DEVICE names can be used, without torch: importing that takes seconds."""

import ctypes
import importlib.util
import platform
import runpy
import sys
from pathlib import Path

from backend.operator_errors import BadSettingError
from backend.settings import Device, EngineKind, Settings

_ANY_DEVICE = "set ZOETROPE_DEVICE=auto to use what there is"


def check_device(settings: Settings) -> None:
    """Raises `BadSettingError` where a worker of these settings could never start on this machine."""
    if settings.engine is not EngineKind.DIFFUSERS:
        return
    if settings.device is Device.CUDA:
        _check_cuda()
    if settings.device is Device.MPS and (sys.platform, platform.machine()) != ("darwin", "arm64"):
        raise BadSettingError(
            "ZOETROPE_DEVICE=mps, but this machine is no Mac with Apple silicon", _ANY_DEVICE
        )


def no_cuda(why: str, remedy: str) -> BadSettingError:
    """What to tell whoever asked for CUDA where there is none."""
    return BadSettingError(f"ZOETROPE_DEVICE=cuda, but {why}", f"{remedy}, or {_ANY_DEVICE}")


def _check_cuda() -> None:
    build = _torch_build()
    if build.get("hip"):
        return  # AMD's, which calls itself CUDA and has a driver of its own
    if build and not build.get("cuda"):
        raise no_cuda(
            f"torch {build.get('__version__')} is a build for CPUs",
            "delete .venv and run `make setup` without ZOETROPE_TORCH",
        )
    if sys.platform != "darwin" and not _nvidia_devices():
        raise no_cuda(
            "the NVIDIA driver shows no GPU",
            "see that `nvidia-smi` lists one and that CUDA_VISIBLE_DEVICES does not hide it",
        )


def _torch_build() -> dict[str, object]:
    """The constants of `torch/version.py`; nothing where torch is not installed."""
    found = importlib.util.find_spec("torch")
    if found is None or found.origin is None:
        return {}
    return runpy.run_path(str(Path(found.origin).with_name("version.py")))


def _nvidia_devices() -> int:
    """How many GPUs the driver offers to this process."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value
