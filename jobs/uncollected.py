"""Keeps the garbage collector away from a great many objects that live long."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """No collection in this block, and none ever looks at what was alive at its end.

    A million waiting jobs are five million objects: a full collection would stop the event loop for seconds, again and
    again while they are made. What is in a cycle with others at the end of the block is never given back.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
