"""A case that a human decides."""

from datetime import timedelta
from enum import StrEnum

CLAIM_LEASE = timedelta(minutes=5)
"""A case that a moderator took comes back after this long without a sign of life."""
UNDO = timedelta(minutes=1)
"""An allow takes effect after this; a block at once."""


class CaseStage(StrEnum):
    """What is under review."""

    INPUT = "input"
    OUTPUT = "output"


class CaseState(StrEnum):
    """Open until decided; a decided allow is still undone within `UNDO`."""

    OPEN = "open"
    DECIDED = "decided"
    EFFECTIVE = "effective"
    DROPPED = "dropped"
