"""Which recipes a worker serves, and what it says about the others."""

from collections.abc import Mapping

import pytest
from structlog.testing import capture_logs

from backend.contracts import Hardware
from backend.operator_errors import BadSettingError
from backend.recipes import CATALOGUE, Recipe
from gpu_worker.fake_engine import FakeEngine
from gpu_worker.served import Served, chosen_recipes

H100 = Hardware(hardware_class="cuda-nvidia-h100", device="NVIDIA H100", memory_gb=85.0)
L4 = Hardware(hardware_class="cuda-nvidia-l4", device="NVIDIA L4", memory_gb=23.7)
CPU = Hardware(hardware_class="cpu-x86-64-2t", device="CPU, 2 threads", memory_gb=512.0)


class Machine(FakeEngine):
    """An engine on hardware of the test's choice, where some weights are missing."""

    def __init__(self, hardware: Hardware, *missing: str) -> None:
        super().__init__()
        self._machine = hardware
        self.absent = set(missing)

    @property
    def hardware(self) -> Hardware:
        return self._machine

    def missing(self, recipe: Recipe) -> str | None:  # type: ignore[override]  # the fake needs no weights
        return f"run `zoetrope models pull {recipe.name}`" if recipe.name in self.absent else None


def served(machine: Machine, recipes: Mapping[str, Recipe] = CATALOGUE) -> tuple[str, ...]:
    return Served(machine, recipes).look()


def test_a_large_card_serves_all_whose_weights_are_here() -> None:
    assert set(served(Machine(H100))) == set(CATALOGUE)
    assert set(served(Machine(H100, "wan-2.1-14b"))) == set(CATALOGUE) - {"wan-2.1-14b"}


def test_a_small_card_serves_what_fits_its_memory() -> None:
    assert set(served(Machine(L4))) == {"mini", "ltx-0.9.5", "wan-2.1-1.3b"}


def test_a_cpu_serves_the_embedded_model_alone_however_much_memory_it_has() -> None:
    assert served(Machine(CPU)) == ("mini",)


def test_each_recipe_has_one_line_at_the_start_and_none_while_nothing_changes() -> None:
    machine = Machine(L4, "wan-2.1-1.3b")
    look = Served(machine, CATALOGUE)
    with capture_logs() as lines:
        look.look()
    said = {line["model"]: (line["event"], line.get("reason", "")) for line in lines}
    assert len(lines) == len(CATALOGUE)
    assert said["mini"] == ("model.served", "")
    assert said["wan-2.1-1.3b"] == ("model.not_served", "run `zoetrope models pull wan-2.1-1.3b`")
    assert said["wan-2.1-14b"] == ("model.not_served", "it needs 60 GB; NVIDIA L4 has 23.7 GB")
    with capture_logs() as again:
        look.look()
    assert again == []


def test_weights_that_come_later_are_served_without_a_restart() -> None:
    machine = Machine(L4, "wan-2.1-1.3b")
    look = Served(machine, CATALOGUE)
    assert "wan-2.1-1.3b" not in look.look()
    machine.absent.clear()
    with capture_logs() as lines:
        assert "wan-2.1-1.3b" in look.look()
    assert [line["event"] for line in lines] == ["model.served"]


def test_the_setting_restricts_what_is_served_and_says_so() -> None:
    chosen = chosen_recipes(("wan-2.1-1.3b",))
    assert list(chosen) == ["wan-2.1-1.3b"]
    with capture_logs() as lines:
        look = Served(Machine(H100), chosen)
    assert {line["model"] for line in lines} == set(CATALOGUE) - {"wan-2.1-1.3b"}
    assert all("ZOETROPE_MODELS" in line["reason"] for line in lines)
    assert look.look() == ("wan-2.1-1.3b",)
    assert chosen_recipes(()) == dict(CATALOGUE)


def test_a_model_that_there_is_not_stops_the_worker_with_the_names_that_are() -> None:
    with pytest.raises(BadSettingError, match=r"wan-2\.1-1\.3b"):
        chosen_recipes(("wan",))
