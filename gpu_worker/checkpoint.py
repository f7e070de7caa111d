"""Checkpoints: latents, sampler and random states after some steps, as one safetensors file (no pickle)."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias, Union

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from backend.contracts import RenderSpec

FORMAT = "zoetrope-checkpoint-1"
_MAX_HEADER_BYTES = 8 * 1024**2

Json: TypeAlias = Union[bool, int, float, str, list["Json"], dict[str, "Json"], None]  # noqa: UP007  # forward


class BadCheckpointError(Exception):
    """The bytes are not a checkpoint that this worker can read."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """State after `step` finished steps. `identity` names engine and recipe, `request` its spec.

    `batch_of`: of how many clips in one pass this was one. The sums of a batch are rounded otherwise than those of a
    clip alone, so that one that goes on alone from here differs in bits from both.
    """

    step: int
    identity: str
    request: str
    batch_of: int = 1
    tensors: Mapping[str, npt.NDArray[np.generic]]
    state: dict[str, Json] = field(default_factory=dict)

    def fits(self, identity: str, request: str) -> bool:
        """Whether a run of that engine and request may go on from here; bit for bit, where it was alone."""
        return self.identity == identity and self.request == request

    def to_bytes(self) -> bytes:
        """One safetensors file with a JSON header."""
        header = {
            "format": FORMAT,
            "step": self.step,
            "identity": self.identity,
            "request": self.request,
            "batch_of": self.batch_of,
        }
        metadata = {"header": json.dumps(header), "state": json.dumps(self.state)}
        return save_tensors({name: np.ascontiguousarray(t) for name, t in self.tensors.items()}, metadata)

    @classmethod
    def from_bytes(cls, data: bytes) -> "Checkpoint":
        """Read one back. Raises `BadCheckpointError` on torn or foreign bytes."""
        try:
            header_bytes = int.from_bytes(data[:8], "little")
            if header_bytes > _MAX_HEADER_BYTES:
                raise BadCheckpointError(f"a header of {header_bytes} bytes; {_MAX_HEADER_BYTES} at most")
            metadata = json.loads(data[8 : 8 + header_bytes])["__metadata__"]
            header = json.loads(metadata["header"])
            if header["format"] != FORMAT:
                raise BadCheckpointError(f"checkpoint format {header['format']!r}; expected {FORMAT!r}")
            state = json.loads(metadata["state"])
            if not isinstance(state, dict):
                raise BadCheckpointError("its state is no object")
            return cls(
                step=int(header["step"]),
                identity=str(header["identity"]),
                request=str(header["request"]),
                batch_of=int(header["batch_of"]),
                tensors=load_tensors(data),
                state=state,
            )
        except (KeyError, TypeError, ValueError, OverflowError, RecursionError, SafetensorError) as error:
            raise BadCheckpointError(f"not a checkpoint: {error}"[:200]) from error


def request_fingerprint(spec: RenderSpec) -> str:
    """A hash of all that decides the pixels; the URLs that images are fetched from are not part of it."""
    pixels = spec.model_dump(mode="json", exclude={"conditioning"})
    pixels["conditioning"] = [
        [image.sha256, image.frame_index, image.strength] for image in spec.conditioning
    ]
    return hashlib.sha256(json.dumps(pixels, sort_keys=True).encode()).hexdigest()
