"""Which pipelines stay in memory: the least recently used go first when a new one needs the room."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Residency(Generic[T]):
    """Loaded things under a memory budget. One thread acquires; any thread may ask for the names."""

    def __init__(self, budget_gb: float, unload: Callable[[T], None]) -> None:
        self._budget_gb = budget_gb
        self._unload = unload
        self._held: OrderedDict[str, tuple[T, float]] = OrderedDict()
        self._lock = threading.Lock()

    def names(self) -> tuple[str, ...]:
        """What is in memory, the most recently used last."""
        with self._lock:
            return tuple(self._held)

    def acquire(self, name: str, memory_gb: float, load: Callable[[], T]) -> T:
        """The named thing, loaded if need be after others made room; one too large alone is tried."""
        with self._lock:
            if name in self._held:
                self._held.move_to_end(name)
                return self._held[name][0]
        self._make_room(memory_gb)
        thing = load()
        with self._lock:
            self._held[name] = (thing, memory_gb)
        return thing

    def drop(self, name: str) -> None:
        """Unload one, if it is there: after it ran out of memory, or was left in an unknown state."""
        with self._lock:
            held = self._held.pop(name, None)
        if held is not None:
            self._unload(held[0])

    def _make_room(self, memory_gb: float) -> None:
        while True:
            with self._lock:
                used_gb = sum(held_gb for _, held_gb in self._held.values())
                if not self._held or used_gb + memory_gb <= self._budget_gb:
                    return
                _, (thing, _) = self._held.popitem(last=False)
            self._unload(thing)
