"""What a pipeline can do to need less memory, thrown for one run and taken back after it."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from types import MappingProxyType
from typing import Any

from backend.recipes import MemorySwitch

_METHODS = MappingProxyType(
    {
        MemorySwitch.VAE_TILING: ("enable_tiling", "disable_tiling"),
        MemorySwitch.VAE_SLICING: ("enable_slicing", "disable_slicing"),
    }
)


@contextmanager
def memory_saved(pipe: Any, switches: Sequence[MemorySwitch]) -> Iterator[None]:
    """The switches are on within the block. Raises `AttributeError` where the recipe names one its codec lacks."""
    with ExitStack() as undo:
        for switch in switches:
            on, off = _METHODS[switch]
            getattr(pipe.vae, on)()
            undo.callback(getattr(pipe.vae, off))
        yield
