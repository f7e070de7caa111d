"""What the check of a model's weights finds, and that each finding says what to run."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from backend.recipes import CATALOGUE, Recipe, Weights
from backend.weights import check, missing_weights, problems_of, weights_folder
from backend.weights.check import damaged_files

WAN = CATALOGUE["wan-2.1-1.3b"]
INDEX = {
    "_class_name": "WanPipeline",
    "_diffusers_version": "0.35.0",
    "scheduler": ["diffusers", "UniPCMultistepScheduler"],
    "text_encoder": ["transformers", "UMT5EncoderModel"],
    "tokenizer": ["transformers", "T5TokenizerFast"],
    "transformer": ["diffusers", "WanTransformer3DModel"],
    "transformer_2": [None, None],
    "expand_timesteps": False,
    "vae": ["diffusers", "AutoencoderKLWan"],
}


def safetensors(size_bytes: int = 64) -> bytes:
    entry = {"dtype": "U8", "shape": [size_bytes], "data_offsets": [0, size_bytes]}
    header = json.dumps({"__metadata__": {"format": "pt"}, "weight": entry}).encode()
    return len(header).to_bytes(8, "little") + header + bytes(size_bytes)


def save_weights(folder: Path) -> None:
    """A folder in diffusers' format: one component in one file, one in shards."""
    for name in ("scheduler", "text_encoder", "tokenizer", "transformer", "vae"):
        (folder / name).mkdir(parents=True)
    (folder / "model_index.json").write_text(json.dumps(INDEX))
    (folder / "scheduler/scheduler_config.json").write_text("{}")
    (folder / "tokenizer/tokenizer_config.json").write_text("{}")
    for name in ("text_encoder", "transformer", "vae"):
        (folder / name / "config.json").write_text("{}")
    (folder / "text_encoder/model.safetensors").write_bytes(safetensors())
    (folder / "vae/diffusion_pytorch_model.safetensors").write_bytes(safetensors())
    shards = [f"diffusion_pytorch_model-0000{number}-of-00002.safetensors" for number in (1, 2)]
    for shard in shards:
        (folder / "transformer" / shard).write_bytes(safetensors())
    (folder / "transformer/diffusion_pytorch_model.safetensors.index.json").write_text(
        json.dumps({"weight_map": {f"layer.{number}": shard for number, shard in enumerate(shards)}})
    )


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recipe:
    """Wan, pulled whole into a hub's cache of its own."""
    monkeypatch.setattr(check, "HF_HUB_CACHE", str(tmp_path))
    save_weights(folder_of(tmp_path, WAN.weights.hub_revision))
    return WAN


def folder_of(cache: Path, revision: str) -> Path:
    return cache / "models--Wan-AI--Wan2.1-T2V-1.3B-Diffusers" / "snapshots" / revision


def test_whole_weights_have_no_problems(recipe: Recipe) -> None:
    assert problems_of(recipe) == []
    assert missing_weights(recipe) is None


def test_another_revision_is_not_the_one_that_the_recipe_names(recipe: Recipe, tmp_path: Path) -> None:
    newer = replace(recipe, weights=replace(recipe.weights, hub_revision="f" * 40))
    said = missing_weights(newer) or ""
    assert "f" * 40 in said
    assert said.endswith("run `zoetrope models pull wan-2.1-1.3b`")


def test_a_branch_is_what_it_was_when_it_was_pulled(recipe: Recipe, tmp_path: Path) -> None:
    follows = replace(recipe, weights=replace(recipe.weights, hub_revision="main"))
    assert weights_folder(follows) is None
    refs = folder_of(tmp_path, "x").parents[1] / "refs"
    refs.mkdir()
    (refs / "main").write_text(recipe.weights.hub_revision)
    assert weights_folder(follows) == weights_folder(recipe)
    assert problems_of(follows) == []


@pytest.mark.parametrize(
    ("gone", "said"),
    [
        ("model_index.json", "there is no model_index.json"),
        ("vae", "the folder vae/ is missing"),
        ("tokenizer/tokenizer_config.json", "tokenizer/ holds no settings"),
        ("text_encoder/model.safetensors", "text_encoder/ holds no weights"),
        (
            "transformer/diffusion_pytorch_model-00002-of-00002.safetensors",
            "transformer/diffusion_pytorch_model-00002-of-00002.safetensors is missing",
        ),
    ],
)
def test_what_is_gone_is_named(recipe: Recipe, tmp_path: Path, gone: str, said: str) -> None:
    path = folder_of(tmp_path, recipe.weights.hub_revision) / gone
    if path.is_dir():
        for file in path.iterdir():
            file.unlink()
        path.rmdir()
    else:
        path.unlink()
    assert [problem for problem in problems_of(recipe) if said in problem]
    assert "zoetrope models pull wan-2.1-1.3b" in (missing_weights(recipe) or "")


def test_a_pickle_is_no_weights(recipe: Recipe, tmp_path: Path) -> None:
    folder = folder_of(tmp_path, recipe.weights.hub_revision) / "text_encoder"
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    assert "text_encoder/ holds no weights" in problems_of(recipe)[0]


def test_a_file_that_was_cut_off_is_found_and_is_to_be_fetched_anew(recipe: Recipe, tmp_path: Path) -> None:
    file = (
        folder_of(tmp_path, recipe.weights.hub_revision)
        / "transformer/diffusion_pytorch_model-00001-of-00002.safetensors"
    )
    assert damaged_files(recipe) == []
    file.write_bytes(safetensors()[:-1])
    assert "00001-of-00002.safetensors is cut off" in problems_of(recipe)[0]
    assert damaged_files(recipe) == [file]
    file.write_bytes(b"not weights")
    assert "is no safetensors file" in problems_of(recipe)[0]
    assert damaged_files(recipe) == [file]


def test_weights_of_another_pipeline_are_refused_unless_the_recipe_knows_them(recipe: Recipe) -> None:
    other = replace(recipe, pipeline_class="HunyuanVideoPipeline")
    assert "weights of a WanPipeline" in problems_of(other)[0]
    assert problems_of(replace(other, weights=replace(other.weights, saved_as=("WanPipeline",)))) == []


@pytest.mark.parametrize("written", ["", "[]", '{"weight_map": 3}', "nonsense"])
def test_files_that_are_not_what_they_should_be_are_problems_and_no_errors(
    recipe: Recipe, tmp_path: Path, written: str
) -> None:
    folder = folder_of(tmp_path, recipe.weights.hub_revision)
    (folder / "transformer/diffusion_pytorch_model.safetensors.index.json").write_text(written)
    assert "transformer/" in problems_of(recipe)[0]
    assert damaged_files(recipe) == []
    (folder / "model_index.json").write_text(written)
    assert problems_of(recipe)
    assert damaged_files(recipe) == []


def test_a_folder_of_ones_own_needs_no_hub(tmp_path: Path) -> None:
    own = replace(WAN, weights=Weights(folder=str(tmp_path / "mine")))
    assert "docs/models.md" in (missing_weights(own) or "")
    save_weights(tmp_path / "mine")
    assert missing_weights(own) is None


def test_the_embedded_model_is_whole() -> None:
    assert problems_of(CATALOGUE["mini"]) == []
