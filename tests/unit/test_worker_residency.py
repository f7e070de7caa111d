"""Which pipelines stay in memory."""

from gpu_worker.residency import Residency


def make(budget_gb: float) -> tuple[Residency[str], list[str], list[str]]:
    loaded: list[str] = []
    unloaded: list[str] = []
    return Residency(budget_gb, unloaded.append), loaded, unloaded


def acquire(residency: Residency[str], loaded: list[str], name: str, memory_gb: float) -> None:
    def load() -> str:
        loaded.append(name)
        return name

    assert residency.acquire(name, memory_gb, load) == name


def test_loads_once_while_there_is_room() -> None:
    residency, loaded, unloaded = make(10)
    for name in ("a", "b", "a", "b"):
        acquire(residency, loaded, name, 5)
    assert (loaded, unloaded, residency.names()) == (["a", "b"], [], ("a", "b"))


def test_the_least_recently_used_makes_room() -> None:
    residency, loaded, unloaded = make(10)
    for name in ("a", "b", "a", "c"):
        acquire(residency, loaded, name, 5)
    assert (unloaded, residency.names()) == (["b"], ("a", "c"))


def test_one_that_is_too_large_is_tried_alone() -> None:
    residency, loaded, unloaded = make(10)
    acquire(residency, loaded, "a", 5)
    acquire(residency, loaded, "giant", 40)
    assert (unloaded, residency.names()) == (["a"], ("giant",))


def test_a_dropped_one_is_loaded_again() -> None:
    residency, loaded, unloaded = make(10)
    acquire(residency, loaded, "a", 5)
    residency.drop("a")
    residency.drop("never there")
    acquire(residency, loaded, "a", 5)
    assert (loaded, unloaded) == (["a", "a"], ["a"])
