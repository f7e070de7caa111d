"""What the README and docs/models.md say about models is true: commands exist, the example runs, the table is whole."""

import re
from dataclasses import replace
from pathlib import Path

import click
import pytest
import typer

from backend.cli import app
from backend.contracts import RenderSpec
from backend.parts import part_environment, part_named
from backend.recipes import CATALOGUE, Recipe
from backend.settings import Device, Settings
from backend.weights import missing_weights
from gpu_worker.diffusers_engine import DiffusersEngine
from gpu_worker.engine import RenderRequest
from tests.contract.test_engine_contract import Recorder
from tests.contract.tiny_pipelines import tiny_of

PAGES = ("README.md", "docs/models.md")
OUR_COMMANDS = re.compile(r"(?:^|[\s`])(?:\.venv/bin/)?zoetrope ([a-z][a-z -]*[a-z])")
SPEC = RenderSpec(
    prompt="a red circle moving right",
    width=64,
    height=32,
    num_frames=9,
    fps=16,
    num_inference_steps=3,
    guidance_scale=5.0,
    seed=7,
)


def _in_code(page: str) -> str:
    """The page's fenced blocks and inline code."""
    fenced = re.findall(r"^```[a-z]*\n(.*?)^```", page, re.M | re.S)
    return "\n".join(
        [*fenced, *re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", page, flags=re.M | re.S))]
    )


@pytest.mark.parametrize("page", PAGES)
def test_every_command_that_is_named_exists(page: str, repository: Path) -> None:
    named = OUR_COMMANDS.findall(_in_code((repository / page).read_text()))
    assert named
    for words in named:
        command: click.Command = typer.main.get_command(app)
        for word in words.split():
            if not isinstance(command, click.Group):
                break
            assert word in command.commands, f"{page} names `zoetrope {words}`"
            command = command.commands[word]


@pytest.mark.parametrize("page", PAGES)
def test_every_setting_that_is_named_exists(page: str, repository: Path) -> None:
    named = set(re.findall(r"ZOETROPE_([A-Z_]+)", (repository / page).read_text())) - {"TORCH"}
    assert named <= {name.upper() for name in Settings.model_fields}


def test_the_worker_of_a_studio_is_told_which_models_to_serve(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ZOETROPE_MODELS", "wan-2.1-1.3b, mini")
    settings = Settings(data_dir=tmp_path)
    assert settings.models == ("wan-2.1-1.3b", "mini")
    assert part_environment(part_named("worker"), settings)["ZOETROPE_MODELS"] == "wan-2.1-1.3b, mini"


def test_the_table_has_every_model_with_its_weights_memory_and_licence(repository: Path) -> None:
    rows = {
        cells[1].strip(" `"): cells
        for line in (repository / "docs/models.md").read_text().split("##")[0].splitlines()
        if len(cells := line.split("|")) == 8
    }
    for name, recipe in CATALOGUE.items():
        _, _, _, weights, download, memory, licence, _ = rows[name]
        assert (recipe.weights.hub_id or "ships with Zoetrope") in weights
        assert licence.strip() == recipe.licence
        if recipe.needs_gpu:
            assert memory.strip() == f"{recipe.memory_gb:g} GB"
        if recipe.weights.download_gb is not None:
            assert download.strip() == f"{recipe.weights.download_gb:.0f} GB"


def test_the_documented_recipe_renders_a_clip(repository: Path, tmp_path: Path) -> None:
    (example,) = re.findall(
        r"^```python\n(.*?)^```", (repository / "docs/models.md").read_text(), re.M | re.S
    )
    assert "/srv/models/ours" in example
    tiny_of("wan-2.1-1.3b", tmp_path)
    written: dict[str, object] = {}
    exec(example.replace("/srv/models/ours", str(tmp_path)), written)
    recipe = written["OURS"]
    assert isinstance(recipe, Recipe)
    assert missing_weights(recipe) is None
    short = replace(recipe, call={**recipe.call, "max_sequence_length": 16})
    clip = DiffusersEngine(Device.CPU).generate(short, RenderRequest(spec=SPEC), Recorder())
    assert clip.frames.shape == (9, 32, 64, 3)
