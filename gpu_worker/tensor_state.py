"""Live sampler objects as plain data and back, bit for bit: attributes as JSON, tensors kept apart."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from gpu_worker.checkpoint import Json

Arrays = dict[str, npt.NDArray[np.generic]]


class UnknownStateError(Exception):
    """An object holds state that can't be kept, so that a run which needs it can't be resumed."""


def pack(value: object, name: str, arrays: Arrays) -> Json:
    """One value as JSON; its tensors go into `arrays` under names that begin with `name`."""
    if value is None or isinstance(value, bool | int | float | str):
        return {"plain": value}
    if isinstance(value, np.generic):
        return {"plain": value.item()}
    if isinstance(value, torch.Tensor):
        return _pack_tensor(value, name, arrays)
    if isinstance(value, np.ndarray):
        arrays[name] = value.copy()
        return {"array": name}
    if isinstance(value, list | tuple):
        kind = "list" if isinstance(value, list) else "tuple"
        return {kind: [pack(item, f"{name}.{index}", arrays) for index, item in enumerate(value)]}
    raise UnknownStateError(f"{name} is a {type(value).__name__}")


def unpack(packed: Json, arrays: Mapping[str, npt.NDArray[np.generic]]) -> Any:
    """The inverse of `pack`; tensors return to the kind of device that they came from."""
    assert isinstance(packed, dict)
    if "plain" in packed:
        return packed["plain"]
    if "array" in packed:
        return np.array(arrays[str(packed["array"])])
    if "tensor" in packed:
        return _unpack_tensor(packed, arrays)
    kind, items = next(iter(packed.items()))
    assert isinstance(items, list)
    values = [unpack(item, arrays) for item in items]
    return values if kind == "list" else tuple(values)


def _pack_tensor(tensor: torch.Tensor, name: str, arrays: Arrays) -> Json:
    # Bytes rather than numbers: numpy knows no bfloat16, and bits are what must come back.
    flat = tensor.detach().to("cpu", copy=True).contiguous().reshape(-1)
    arrays[name] = flat.view(torch.uint8).numpy()
    return {
        "tensor": name,
        "dtype": str(tensor.dtype).removeprefix("torch."),
        "shape": list(tensor.shape),
        "stride": list(tensor.stride()),
        "device": tensor.device.type,
    }


def _unpack_tensor(packed: dict[str, Json], arrays: Mapping[str, npt.NDArray[np.generic]]) -> torch.Tensor:
    dtype = getattr(torch, str(packed["dtype"]))
    shape, stride = _integers(packed["shape"]), _integers(packed["stride"])
    if 0 in shape:
        return torch.empty(shape, dtype=dtype, device=str(packed["device"]))
    flat = torch.from_numpy(np.array(arrays[str(packed["tensor"])])).view(dtype)
    # Laid out as it was, in torch's own aligned memory: kernels sum in another order where the layout differs.
    # (The mini model's clip differed in 26 pixels by 1 after a resume from latents that had been made contiguous.)
    expanded = any(step == 0 for step in stride)
    restored = (
        torch.empty(shape, dtype=dtype) if expanded else torch.empty_strided(shape, stride, dtype=dtype)
    )
    return restored.copy_(flat.reshape(shape)).to(str(packed["device"]))


def _integers(packed: Json) -> list[int]:
    assert isinstance(packed, list)
    return [int(str(item)) for item in packed]
