"""The pictures of a clip that a stranger made, decoded in a process with limits: whatever ends that process was the
clip, and the moderator goes on.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Final, Self

from PIL import Image

from moderation.frames import (
    DECODED_WITHIN_S,
    MOST_FRAMES,
    ClipShape,
    ClipUnreadable,
    SampledFrame,
    open_image,
    sample_frames,
)
from moderation.limited_process import LimitedProcessEnded, LimitedProcesses, Limits
from moderation.verdict import NotAsOrdered

MOST_SIDE_PX: Final = 16_384
_LONGEST_WORDS: Final = 300
_BYTES_A_PIXEL: Final = 3
_LIMITS: Final = Limits(
    # A little more than the decoding gives itself: then it says itself how far it got.
    wall_s=DECODED_WITHIN_S + 10,
    cpu_s=int(DECODED_WITHIN_S),
    memory_bytes=2**30,
    answer_bytes=2**29,
)


_REFUSALS: Final[Mapping[str, type[Exception]]] = {
    "not as ordered": NotAsOrdered,
    "unreadable": ClipUnreadable,
}


@dataclass(frozen=True, kw_only=True)
class ClipPictures:
    """What is to be judged of a clip."""

    frames: tuple[SampledFrame, ...]
    thumbnail: Image.Image | None
    spritesheet: Image.Image | None


class ClipDecoder:
    """Opens clips where they do no harm. Safe to use from several threads; `close` ends its processes."""

    def __init__(self, limits: Limits = _LIMITS) -> None:
        self._processes = LimitedProcesses("moderation.clip_pictures:look_here", limits)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Get ready for the first clip."""
        self._processes.start()

    def close(self) -> None:
        """End what was started."""
        self._processes.close()

    def pictures(
        self,
        video: Path,
        *,
        thumbnail: Path | None = None,
        spritesheet: Path | None = None,
        shape: ClipShape | None = None,
    ) -> ClipPictures:
        """The frames of a clip that are to be judged, and the pictures beside it.

        Raises `NotAsOrdered` for files that are not of `shape`, or took more than the limits allow, `ClipUnreadable`
        for what can't be looked at whole, and `NoLimitedProcess`.
        """
        named = {"video": video, "thumbnail": thumbnail, "spritesheet": spritesheet}
        paths = {name: path for name, path in named.items() if path is not None}
        question = {"files": list(paths), "shape": asdict(shape) if shape is not None else None}
        try:
            with ExitStack() as opened:
                files = [opened.enter_context(path.open("rb")) for path in paths.values()]
                answer, pixels = self._processes.ask(question, files)
            return _read(answer, pixels, beside=[name for name in paths if name != "video"])
        except LimitedProcessEnded as error:
            raise NotAsOrdered(f"a clip that ended what decoded it ({error})") from error


def _read(answer: Mapping[str, Any], pixels: bytes, *, beside: Sequence[str]) -> ClipPictures:
    """What the process says, which the clip may have taken over: nothing in it is believed."""
    said = "".join(letter for letter in str(answer.get("said", ""))[:_LONGEST_WORDS] if letter.isprintable())
    if (refusal := _REFUSALS.get(str(answer.get("refusal")))) is not None:
        raise refusal(said)
    try:
        frames = answer["frames"]
        sizes = [*(frame["size"] for frame in frames), *(answer["beside"][name] for name in beside)]
        images = _cut(pixels, sizes)
        sampled = tuple(
            SampledFrame(image=image, at_s=float(frame["at_s"]), index=int(frame["index"]))
            for frame, image in zip(frames[:MOST_FRAMES], images, strict=False)
        )
        pictures = dict(zip(beside, images[len(frames) :], strict=True))
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise LimitedProcessEnded("no pictures") from error
    if not sampled or len(sampled) != len(frames):
        raise LimitedProcessEnded("no frames, or too many")
    return ClipPictures(
        frames=sampled, thumbnail=pictures.get("thumbnail"), spritesheet=pictures.get("spritesheet")
    )


def _cut(pixels: bytes, sizes: Sequence[tuple[int, int]]) -> list[Image.Image]:
    """Pictures (width, height) out of their pixels, one after another. Raises ValueError where these don't fit."""
    if not all(1 <= side <= MOST_SIDE_PX for size in sizes for side in size):
        raise ValueError("no picture has such a size")
    if sum(width * height * _BYTES_A_PIXEL for width, height in sizes) != len(pixels):
        raise ValueError("other sizes than pixels")
    images, at = [], 0
    for width, height in sizes:
        end = at + width * height * _BYTES_A_PIXEL
        images.append(Image.frombytes("RGB", (width, height), pixels[at:end]))
        at = end
    return images


def look_here(
    question: Mapping[str, Any], files: Sequence[IO[bytes]]
) -> tuple[Mapping[str, object], Iterable[bytes]]:
    """The task of the limited process: decode what is to be judged of these files."""
    opened = dict(zip(question["files"], files, strict=True))
    asked = question["shape"]
    shape = None if asked is None else ClipShape(**{name: _as_field(value) for name, value in asked.items()})
    try:
        frames = sample_frames(opened["video"], shape)
        beside = {
            name: open_image(file, None if asked is None else _as_field(asked[name]))
            for name, file in opened.items()
            if name != "video"
        }
    except NotAsOrdered as error:
        return {"refusal": "not as ordered", "said": str(error)}, ()
    except MemoryError:
        return {"refusal": "not as ordered", "said": "a clip that takes more memory than there is"}, ()
    except ClipUnreadable as error:
        return {"refusal": "unreadable", "said": str(error)}, ()
    except Exception as error:  # noqa: BLE001  (an outer edge: of what else it raises the class is said)
        return {"refusal": "unreadable", "said": type(error).__name__}, ()
    described = [{"size": frame.image.size, "at_s": frame.at_s, "index": frame.index} for frame in frames]
    images = [*(frame.image for frame in frames), *beside.values()]
    return (
        {"frames": described, "beside": {name: image.size for name, image in beside.items()}},
        (image.tobytes() for image in images),
    )


def _as_field(value: Any) -> Any:
    """JSON has no tuples."""
    return tuple(value) if isinstance(value, list) else value
