"""Live sampler objects as plain data and back, bit for bit: attributes as JSON, tensors kept apart."""

from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from gpu_worker.checkpoint import Json

Arrays = dict[str, npt.NDArray[np.generic]]

_MOST_SPREAD = 2
"""A view may leave gaps between its numbers; one that spreads them over more than this many times their room is none
that a pipeline makes."""
_UNREADABLE = (
    AssertionError,
    AttributeError,
    ArithmeticError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)


class UnknownStateError(Exception):
    """An object holds state that can't be kept, so that a run which needs it can't be resumed."""


class BadStateError(Exception):
    """What was kept is nothing that `pack` could have made."""


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
    """The inverse of `pack`; tensors return to the kind of device that they came from.

    It may have been written by another host: it takes no more memory than its arrays do, twice at most. Raises
    `BadStateError`.
    """
    try:
        return _unpack(packed, dict(arrays))
    except _UNREADABLE as error:
        raise BadStateError(f"{type(error).__name__}: {error}"[:200]) from error


def _unpack(packed: Json, unread: Arrays) -> Any:
    """Each array is taken once, so that no list can name one a million times."""
    assert isinstance(packed, dict)
    if "plain" in packed:
        value = packed["plain"]
        assert not isinstance(value, list | dict)
        return value
    if "array" in packed:
        return np.array(unread.pop(str(packed["array"])))
    if "tensor" in packed:
        return _unpack_tensor(packed, unread)
    ((kind, items),) = packed.items()
    assert isinstance(items, list)
    values = [_unpack(item, unread) for item in items]
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


def _unpack_tensor(packed: dict[str, Json], unread: Arrays) -> torch.Tensor:
    dtype, device = getattr(torch, str(packed["dtype"])), str(packed["device"])
    shape, stride = _integers(packed["shape"]), _integers(packed["stride"])
    numbers = np.array(unread.pop(str(packed["tensor"])))
    flat = torch.from_numpy(numbers).view(dtype) if numbers.size else torch.empty(0, dtype=dtype)
    if flat.numel() != prod(shape):
        raise ValueError(f"a tensor of shape {shape} with {flat.numel()} numbers")
    if flat.numel() == 0:
        return flat.reshape(shape).to(device)
    # Laid out as it was, in torch's own aligned memory: kernels sum in another order where the layout differs.
    # (The mini model's clip differed in 26 pixels by 1 after a resume from latents that had been made contiguous.)
    if any(step == 0 for step in stride):
        restored = torch.empty(shape, dtype=dtype)
    else:
        spread = 1 + sum((size - 1) * step for size, step in zip(shape, stride, strict=True))
        if spread > _MOST_SPREAD * flat.numel():
            raise ValueError(f"{flat.numel()} numbers spread over {spread}")
        restored = torch.empty_strided(shape, stride, dtype=dtype)
    return restored.copy_(flat.reshape(shape)).to(device)


def _integers(packed: Json) -> list[int]:
    assert isinstance(packed, list)
    return [int(str(item)) for item in packed]
