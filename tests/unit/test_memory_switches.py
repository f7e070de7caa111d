"""Switches that save memory are on for one run, and off after it however it ends."""

import pytest

from backend.recipes import MemorySwitch
from gpu_worker.memory_switches import memory_saved


class Codec:
    def __init__(self) -> None:
        self.on: set[str] = set()

    def enable_tiling(self) -> None:
        self.on.add("tiling")

    def disable_tiling(self) -> None:
        self.on.discard("tiling")

    def enable_slicing(self) -> None:
        self.on.add("slicing")

    def disable_slicing(self) -> None:
        self.on.discard("slicing")


class Pipe:
    def __init__(self) -> None:
        self.vae = Codec()


def test_the_recipes_switches_are_on_within_the_run_alone() -> None:
    pipe = Pipe()
    with memory_saved(pipe, [MemorySwitch.VAE_TILING, MemorySwitch.VAE_SLICING]):
        assert pipe.vae.on == {"tiling", "slicing"}
    assert pipe.vae.on == set()
    with memory_saved(pipe, []):
        assert pipe.vae.on == set()


def test_a_run_that_fails_leaves_none_on() -> None:
    pipe = Pipe()
    with pytest.raises(RuntimeError), memory_saved(pipe, [MemorySwitch.VAE_TILING]):
        raise RuntimeError("out of memory again")
    assert pipe.vae.on == set()
