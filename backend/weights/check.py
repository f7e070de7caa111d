"""Whether the weights of a recipe are here and whole, read from the files alone: nothing is loaded."""

import json
import os
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

from huggingface_hub.constants import HF_HUB_CACHE

from backend.recipes import Recipe

INDEX = "model_index.json"
MAX_HEADER_BYTES = 100_000_000
"""What the safetensors format allows."""
# What a component's folder holds of settings, and whether weights lie beside them.
_SETTINGS = {
    "config.json": True,
    "scheduler_config.json": False,
    "tokenizer_config.json": False,
    "preprocessor_config.json": False,
    "processor_config.json": False,
}
_ONE_FILE = ("diffusion_pytorch_model.safetensors", "model.safetensors")
_UNREADABLE = (ValueError, KeyError, TypeError, AttributeError, IndexError)
"""What comes of reading JSON that is not what it should be."""
_SHARDS = tuple(f"{name}.index.json" for name in _ONE_FILE)


def weights_folder(recipe: Recipe) -> Path | None:
    """Where the weights are or would be; None while nothing of the wanted revision was ever pulled.

    A folder is absolute, or `package:path` inside an installed package. A hub id is looked up in the hub's cache
    (HF_HOME, HF_HUB_CACHE), where a branch is what it pointed to when it was last pulled.
    """
    weights = recipe.weights
    if weights.folder is not None:
        package, _, inside = weights.folder.partition(":")
        if not inside or os.path.isabs(weights.folder):
            return Path(weights.folder)
        return Path(str(files(package))) / inside
    if weights.hub_id is None:
        return None
    repository = hub_folder(weights.hub_id)
    branch = repository / "refs" / weights.hub_revision
    try:
        revision = branch.read_text(encoding="utf-8").strip() if branch.is_file() else weights.hub_revision
    except OSError:
        return None
    snapshot = repository / "snapshots" / revision
    return snapshot if snapshot.is_dir() else None


def hub_folder(hub_id: str) -> Path:
    """Where the hub's cache keeps a repository."""
    return Path(HF_HUB_CACHE) / ("models--" + hub_id.replace("/", "--"))


def missing_weights(recipe: Recipe) -> str | None:
    """What someone must do before this machine can serve the recipe, as one line; None when it can."""
    problems = problems_of(recipe)
    if not problems:
        return None
    more = f", and {len(problems) - 1} more" if len(problems) > 1 else ""
    return f"{problems[0]}{more}: {remedy(recipe)}"


def remedy(recipe: Recipe) -> str:
    """What brings the weights of this recipe here."""
    if recipe.weights.hub_id is not None:
        return f"run `zoetrope models pull {recipe.name}`"
    if (recipe.weights.folder or "").startswith("gpu_worker:mini/"):
        return "restore them with `git checkout`, or run `zoetrope train-mini`"
    return "put a pipeline in diffusers' format there (docs/models.md)"


def problems_of(recipe: Recipe) -> list[str]:
    """All that is wrong with the weights on this machine, a clause each; nothing when they are whole."""
    if recipe.weights.folder is None and recipe.weights.hub_id is None:
        return [f"the recipe {recipe.name} names no weights"]
    folder = weights_folder(recipe)
    if folder is None:
        at = f"{recipe.weights.hub_id} at {recipe.weights.hub_revision}"
        return [f"the weights of {recipe.name} ({at}) are not here"]
    try:
        index = json.loads((folder / INDEX).read_bytes())
    except FileNotFoundError:
        return [f"the weights of {recipe.name} are not in {folder}: there is no {INDEX}"]
    except (OSError, ValueError) as error:
        return [f"{folder / INDEX} can't be read ({type(error).__name__})"]
    if not isinstance(index, dict):
        return [f"{folder / INDEX} is no index of a pipeline"]
    found = _pipeline_problems(recipe, index)
    for component in _components(folder, index):
        found += _component_problems(component)
    return found


def damaged_files(recipe: Recipe) -> list[Path]:
    """Weight files that are here and not whole: to be fetched anew."""
    folder = weights_folder(recipe)
    try:
        index = json.loads((folder / INDEX).read_bytes()) if folder is not None else {}
        return [
            component / name
            for component in _components(folder or Path(), index)
            for name in _weight_files(component)
            if (component / name).is_file() and _file_problem(component / name)
        ]
    except (OSError, *_UNREADABLE):
        return []


def _components(folder: Path, index: dict[str, object]) -> list[Path]:
    return [
        folder / name
        for name, kind in index.items()
        if not name.startswith("_") and isinstance(kind, list) and any(kind)
    ]


def _pipeline_problems(recipe: Recipe, index: dict[str, object]) -> list[str]:
    own = recipe.pipeline_class.partition(":")[2] or recipe.pipeline_class
    saved_as = index.get("_class_name")
    if saved_as in {own, *recipe.weights.saved_as}:
        return []
    return [f"they are the weights of a {saved_as}, and {recipe.name} is a {own}"]


def _component_problems(folder: Path) -> list[str]:
    if not folder.is_dir():
        return [f"the folder {folder.name}/ is missing"]
    settings = [name for name in _SETTINGS if (folder / name).is_file()]
    if not settings:
        return [f"{folder.name}/ holds no settings ({', '.join(_SETTINGS)})"]
    if not any(_SETTINGS[name] for name in settings):
        return []
    try:
        wanted = _weight_files(folder)
    except (OSError, *_UNREADABLE) as error:
        return [f"{folder.name}/ has an index of shards that can't be read ({type(error).__name__})"]
    if not wanted:
        return [f"{folder.name}/ holds no weights ({' or '.join(_ONE_FILE)})"]
    return [f"{folder.name}/{name} {problem}" for name in wanted if (problem := _file_problem(folder / name))]


def _weight_files(folder: Path) -> list[str]:
    for name in _SHARDS:
        if (folder / name).is_file():
            shards = json.loads((folder / name).read_bytes())["weight_map"].values()
            return sorted({os.path.basename(str(shard)) for shard in shards})
    return [name for name in _ONE_FILE if (folder / name).is_file()]


def _file_problem(path: Path) -> str:
    try:
        state = path.stat()
    except OSError:
        return "is missing"
    return _shape_problem(str(path), state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=4096)
def _shape_problem(path: str, size_bytes: int, _changed_ns: int) -> str:
    """Whether a safetensors file is as long as its header says. Remembered: a worker asks every half minute."""
    try:
        with open(path, "rb") as file:
            header_bytes = int.from_bytes(file.read(8), "little")
            if not 0 < header_bytes <= min(MAX_HEADER_BYTES, size_bytes):
                return "is no safetensors file"
            header = json.loads(file.read(header_bytes))
        ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
        whole_bytes = 8 + header_bytes + max(ends, default=0)
    except (OSError, *_UNREADABLE):
        return "is no safetensors file"
    if size_bytes < whole_bytes:
        return f"is cut off: {size_bytes:,} of {whole_bytes:,} bytes"
    return ""
