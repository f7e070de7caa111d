"""The base of every message: frozen, tolerant of newer fields, strict about its own."""

from pydantic import BaseModel, ConfigDict

PROTOCOL_VERSION = 1


class Message(BaseModel):
    """A frozen message. Unknown fields are ignored, so that old readers survive new writers."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Envelope(Message):
    """A message that travels alone and so names its own protocol version."""

    protocol: int = PROTOCOL_VERSION
