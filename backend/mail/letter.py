"""What a letter is, and what can send one."""

from dataclasses import dataclass
from typing import Protocol


class MailError(Exception):
    """A letter could not be handed over; the reason is in the message."""


@dataclass(frozen=True, kw_only=True)
class Letter:
    """One letter in plain text."""

    to: str
    subject: str
    text: str


class Mailer(Protocol):
    """Sends letters."""

    @property
    def enabled(self) -> bool:
        """Whether letters go anywhere. Without, nobody is asked to confirm an address."""
        ...

    async def send(self, letter: Letter) -> None:
        """Hand a letter over. Raises `MailError`."""
        ...
