"""What is to be rendered, every value settled: parsed once, from the JSON that a job's row keeps it as."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

VERSION = 1
"""Of the JSON. A reader refuses what it doesn't know; a new shape gets the next number and a reader of its own."""


class UnreadableSpec(ValueError):
    """The JSON is of no version that this program knows, or a field is missing or of a wrong type."""


@dataclass(frozen=True, kw_only=True)
class ConditioningImage:
    """An uploaded image, held at a frame (0: first, -1: last). `strength` is from 0 to 1."""

    upload_id: str
    frame_index: int = 0
    strength: float = 1.0


@dataclass(frozen=True, kw_only=True)
class GenerationSpec:
    """All that decides a clip's pixels beside its recipe and prompts. `width` and `height` in pixels."""

    width: int
    height: int
    num_frames: int
    fps: int
    num_inference_steps: int
    guidance_scale: float
    seed: int
    conditioning: tuple[ConditioningImage, ...] = ()

    @property
    def size(self) -> str:
        """As people write it: `WIDTHxHEIGHT`."""
        return f"{self.width}x{self.height}"

    @property
    def upload_ids(self) -> tuple[str, ...]:
        """The images that it is conditioned on."""
        return tuple(image.upload_id for image in self.conditioning)

    def to_json(self) -> dict[str, object]:
        """A JSON object that `from_json` reads back, equal."""
        flat = asdict(self)
        return {"version": VERSION, **flat, "conditioning": list(flat["conditioning"])}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "GenerationSpec":
        """Read a spec; unknown fields are ignored. Raises `UnreadableSpec`."""
        if data.get("version") != VERSION:
            raise UnreadableSpec(f"spec of version {data.get('version')!r}; version {VERSION} is known")
        try:
            images = tuple(
                ConditioningImage(
                    upload_id=_text(image["upload_id"]),
                    frame_index=_whole(image["frame_index"]),
                    strength=_number(image["strength"]),
                )
                for image in data["conditioning"]
            )
            whole = {
                field.name: _whole(data[field.name])
                for field in fields(cls)
                if field.name not in {"guidance_scale", "conditioning"}
            }
            return cls(**whole, guidance_scale=_number(data["guidance_scale"]), conditioning=images)
        except (KeyError, TypeError) as error:
            raise UnreadableSpec(f"not a spec: {error!r}") from error


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def _whole(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{value!r} is no whole number")
    return value


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{value!r} is no number")
    return float(value)
