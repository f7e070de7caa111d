"""What the fields of a worker's messages may hold: its host is not trusted, and its words go into rows and logs."""

from typing import Annotated, Final

from pydantic import BeforeValidator, Field, StringConstraints

from backend.settings import WORKER_ID_PATTERN

MAX_NUMBER: Final = 2**31 - 1
"""The largest that a column of the database holds."""
MAX_STEPS: Final = 1_000_000
MAX_PROSE: Final = 2000
MAX_ATTEMPTS: Final = 256
MAX_RECIPES: Final = 64
MAX_ARTIFACTS: Final = 8
MAX_SIDE_PX: Final = 16_384
MAX_FRAMES: Final = 20_000
MAX_OBJECT_BYTES: Final = 2**40
_LONGEST_S: Final = 1e7


def _readable(text: object) -> object:
    """Cut and cleaned rather than refused: an error's text must not keep the report that brings it from being read."""
    if not isinstance(text, str):
        return text
    kept = text[:MAX_PROSE].replace("\0", " ")
    return kept.encode("utf-8", "replace").decode()


WorkerId = Annotated[str, StringConstraints(pattern=WORKER_ID_PATTERN, max_length=64)]
Ident = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]*$", max_length=64)]
"""An id, or a recipe's name."""
Line = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]*$", max_length=300)]
Prose = Annotated[str, BeforeValidator(_readable), StringConstraints(max_length=MAX_PROSE)]
ObjectKey = Annotated[str, StringConstraints(pattern=r"^[\x21-\x7e]+$", max_length=512)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$", max_length=64)]
Number = Annotated[int, Field(ge=0, le=MAX_NUMBER)]
Steps = Annotated[int, Field(ge=0, le=MAX_STEPS)]
SizeBytes = Annotated[int, Field(ge=0, le=MAX_OBJECT_BYTES)]
Seconds = Annotated[float, Field(ge=0, le=_LONGEST_S)]
SidePx = Annotated[int, Field(ge=1, le=MAX_SIDE_PX)]
