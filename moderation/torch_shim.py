"""Makes `import torchvision` work beside a CPU torch. Import this before open_clip, transformers or diffusers.

The registry's torchvision is linked against CUDA. Beside a CPU torch its operators can't be loaded, and its
import dies on the missing schema of `torchvision::nms`. Nothing here uses those operators; their schemas suffice.
"""

import importlib.util
from pathlib import Path

import torch

_SCHEMAS = (
    ("nms", "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"),
    ("qnms", "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"),
)

_fragments: list[torch.library.Library] = []


def install() -> bool:
    """Declare torchvision's schemas where its operators can't be loaded. Returns whether that was needed.

    Runs once at import; calling it again does nothing. The library object is kept alive on purpose: torch
    forgets the schemas when it is collected.
    """
    if _fragments:
        return True
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None or _operators_load(Path(spec.origin).parent):
        return False
    fragment = torch.library.Library("torchvision", "FRAGMENT")
    for name, schema in _SCHEMAS:
        if not _is_declared(name):
            fragment.define(schema)
    _fragments.append(fragment)
    return True


def _operators_load(package: Path) -> bool:
    for library in sorted(package.glob("_C*.so")) + sorted(package.glob("_C*.pyd")):
        try:
            torch.ops.load_library(str(library))
        except (OSError, RuntimeError):
            continue
        if _is_declared("nms"):
            return True
    return False


def _is_declared(name: str) -> bool:
    return hasattr(torch.ops.torchvision, name)


install()
