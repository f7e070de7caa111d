"""An image that a creator gave: whether it can be named by a job, and how much may lie about that none names. Pure."""

from datetime import timedelta
from enum import StrEnum


class UploadState(StrEnum):
    """Where an upload is. Only a `stored` one can be named by a job."""

    ARRIVING = (
        "arriving"  # its row is there first, so that no bytes lie about that no row names. Out: accept, sweep
    )
    STORED = "stored"  # may be named. Out: the sweep, when no job needs it
    REMOVED = "removed"  # nobody can name it any more; its bytes go next. Out: the sweep
    SWEPT = "swept"  # its bytes are gone; the row stays for the verdicts that were given on it


KEPT_UNUSED = timedelta(days=1)
"""From when it was last given or named."""
MAX_KEPT_BYTES = 32 * 2**20
"""Of one image as it lies in storage, drawn anew from what came: nothing larger is kept or read."""
MAX_UNUSED_BYTES = 256 * 2**20
"""Of one account."""
