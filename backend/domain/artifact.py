"""What a job left in storage, and whether people may see it: the only machine that serving asks."""

from enum import StrEnum
from types import MappingProxyType


class ArtifactKind(StrEnum):
    """What the bytes are."""

    VIDEO = "video"
    THUMBNAIL = "thumbnail"
    SPRITESHEET = "spritesheet"


SERVED = (ArtifactKind.VIDEO, ArtifactKind.THUMBNAIL, ArtifactKind.SPRITESHEET)


CONTENT_TYPES: MappingProxyType[ArtifactKind, str] = MappingProxyType(
    {
        ArtifactKind.VIDEO: "video/mp4",
        ArtifactKind.THUMBNAIL: "image/webp",
        ArtifactKind.SPRITESHEET: "image/webp",
    }
)
"""As what each is written and served: never as what a worker says it is."""


class ArtifactState(StrEnum):
    """May it be fetched? Only `released` may."""

    WITHHELD = "withheld"  # no verdict yet, or one against it: kept as evidence. Out: publish, expiry, delete
    RELEASED = "released"  # served. Out: takedown, expiry, delete
    TAKEN_DOWN = "taken_down"  # a moderator withdrew it. Out: reinstatement, expiry, delete
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
GONE = frozenset({_A.EXPIRED, _A.DELETED})
"""Ends: the bytes are to go, or have gone."""


def sources_of(target: ArtifactState) -> frozenset[ArtifactState]:
    """The states from which an artifact may go to `target`."""
    return frozenset(state for state, targets in TRANSITIONS.items() if target in targets)
