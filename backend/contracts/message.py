"""The base of every message: frozen, tolerant of newer fields, strict about its own."""

from typing import Final, Literal

from pydantic import BaseModel, ConfigDict

PROTOCOL_VERSION: Final = 1


class Message(BaseModel):
    """A frozen message. Unknown fields are ignored, so that old readers survive new writers. No float is infinite."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class Envelope(Message):
    """A message that travels alone and so names its protocol version. One of another version is refused."""

    protocol: Literal[1] = PROTOCOL_VERSION
