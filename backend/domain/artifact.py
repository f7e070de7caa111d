"""What a job left in storage, and whether people may see it: the only machine that serving asks."""

from enum import StrEnum
from types import MappingProxyType


class ArtifactKind(StrEnum):
    """What the bytes are."""

    VIDEO = "video"
    THUMBNAIL = "thumbnail"
    SPRITESHEET = "spritesheet"


SERVED = (ArtifactKind.VIDEO, ArtifactKind.THUMBNAIL, ArtifactKind.SPRITESHEET)


class ArtifactState(StrEnum):
    """May it be fetched? Only `released` may."""

    WITHHELD = "withheld"  # no verdict yet, or one against it. Out: publish, an appeal
    RELEASED = "released"  # served. Out: takedown, expiry, delete
    TAKEN_DOWN = "taken_down"  # a moderator withdrew it. Out: reinstatement
    EXPIRED = "expired"  # its retention ended; the bytes are swept
    DELETED = "deleted"  # its owner deleted it; the bytes are swept


_A = ArtifactState
TRANSITIONS: MappingProxyType[ArtifactState, frozenset[ArtifactState]] = MappingProxyType(
    {
        _A.WITHHELD: frozenset({_A.RELEASED, _A.EXPIRED, _A.DELETED}),
        _A.RELEASED: frozenset({_A.TAKEN_DOWN, _A.EXPIRED, _A.DELETED}),
        _A.TAKEN_DOWN: frozenset({_A.RELEASED, _A.EXPIRED, _A.DELETED}),
        _A.EXPIRED: frozenset(),
        _A.DELETED: frozenset(),
    }
)


def may_become(state: ArtifactState, target: ArtifactState) -> bool:
    """Whether an artifact may go from `state` to `target`."""
    return target in TRANSITIONS[state]
