"""Fetches a recipe's weights from the hub into its cache, after looking whether they fit."""

import errno
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import httpx2
from huggingface_hub import snapshot_download
from huggingface_hub.constants import ENDPOINT, HF_HUB_CACHE
from huggingface_hub.errors import (
    DryRunError,
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
    XetDownloadError,
)
from huggingface_hub.utils.tqdm import disable_progress_bars, enable_progress_bars

from backend.operator_errors import OperatorError, WeightsNotPulledError
from backend.recipes import Recipe
from backend.weights.check import damaged_files, hub_folder, missing_weights, problems_of, weights_folder

RESERVE_BYTES = 2_000_000_000
"""Left free on the disk: a full one stops everything else that writes to it."""
FILES_AT_ONCE = 4
_STALE_AFTER_S = 3600.0
# Settings, tokenizers and safetensors of the components. Not what lies beside them: single files for other programs,
# which are as large again, and pickles, which run code when they are loaded.
_WANTED = [
    "model_index.json", "*/*.json", "*/*.safetensors", "*/*.model", "*/*.txt", "*/*.jinja", "LICENSE*", "*license*",
]  # fmt: skip
_UNWANTED = ["*.fp16.safetensors", "*.fp8*.safetensors", "*/flax_*", "*/*.onnx*", "*/openvino_*", "assets/*"]
_AGAIN = "run it again: files that are here stay"


def pull_weights(recipe: Recipe, say: Callable[[str], None]) -> Path:
    """The folder, once all files are in it. What is here already is not fetched again.

    Raises `WeightsNotPulledError`, saying what to do.
    """
    hub_id = recipe.weights.hub_id
    if hub_id is None:
        raise WeightsNotPulledError(
            f"the weights of {recipe.name} are not on a hub",
            missing_weights(recipe) or f"they are in {weights_folder(recipe)}",
        )
    try:
        _sweep(recipe, hub_id)
        needed_bytes = _needed_bytes(hub_id, recipe.weights.hub_revision)
    except (OSError, httpx2.HTTPError) as error:
        raise _explained(recipe, hub_id, error) from error
    _check_room(recipe, needed_bytes)
    try:
        if needed_bytes:
            say(f"{recipe.name}: {needed_bytes / 1e9:.1f} GB of {hub_id} to {HF_HUB_CACHE}")
        snapshot_download(
            hub_id,
            revision=recipe.weights.hub_revision,
            allow_patterns=_WANTED,
            ignore_patterns=_UNWANTED,
            max_workers=FILES_AT_ONCE,
        )
    except (OSError, httpx2.HTTPError, XetDownloadError) as error:
        raise _explained(recipe, hub_id, error) from error
    problems = problems_of(recipe)
    if problems:
        raise WeightsNotPulledError(
            f"{hub_id} at {recipe.weights.hub_revision} is not what {recipe.name} needs ({'; '.join(problems)})",
            "correct the recipe's weights",
        )
    folder = weights_folder(recipe)
    assert folder is not None
    return folder


def _needed_bytes(hub_id: str, revision: str) -> int:
    disable_progress_bars()
    try:
        listed = snapshot_download(
            hub_id, revision=revision, allow_patterns=_WANTED, ignore_patterns=_UNWANTED, dry_run=True
        )
    finally:
        enable_progress_bars()
    return sum(file.file_size or 0 for file in listed if file.will_download)


def _check_room(recipe: Recipe, needed_bytes: int) -> None:
    disk = Path(HF_HUB_CACHE)
    while not disk.exists():
        disk = disk.parent
    free_bytes = shutil.disk_usage(disk).free
    if needed_bytes and needed_bytes + RESERVE_BYTES > free_bytes:
        raise WeightsNotPulledError(
            f"{recipe.name} needs {(needed_bytes + RESERVE_BYTES) / 1e9:.1f} GB and {HF_HUB_CACHE} has"
            f" {free_bytes / 1e9:.1f} GB free",
            "free some disk, or name a larger one with HF_HOME",
        )


def _sweep(recipe: Recipe, hub_id: str) -> None:
    """Away with what the hub's client never looks at again: damaged files, and halves that a killed one left behind."""
    for path in damaged_files(recipe):
        blob = path.resolve()
        path.unlink()
        blob.unlink(missing_ok=True)
    for path in (hub_folder(hub_id) / "blobs").glob("*.incomplete"):
        try:
            if time.time() - path.stat().st_mtime > _STALE_AFTER_S:
                path.unlink()
        except FileNotFoundError:
            continue


def _explained(recipe: Recipe, hub_id: str, error: Exception) -> OperatorError:
    if isinstance(error, DryRunError | LocalEntryNotFoundError) and error.__cause__ is not None:
        error = error.__cause__ if isinstance(error.__cause__, Exception) else error
    address = f"{ENDPOINT}/{hub_id}"
    revision = recipe.weights.hub_revision
    match error:
        case OfflineModeIsEnabled():
            return WeightsNotPulledError("HF_HUB_OFFLINE keeps the hub's client from the network", "unset it")
        case GatedRepoError():
            return WeightsNotPulledError(
                f"{hub_id} is given only to who accepted its licence",
                f"accept it at {address}, make a token there, and run this again with HF_TOKEN set to it",
            )
        case RevisionNotFoundError():
            return WeightsNotPulledError(f"{hub_id} has no revision {revision}", "correct the recipe")
        case RepositoryNotFoundError():
            return WeightsNotPulledError(
                f"{hub_id} is not there, or is private",
                "look at the recipe's spelling, or run this again with HF_TOKEN set to a token that may read it",
            )
        case HfHubHTTPError():
            return WeightsNotPulledError(
                f"{ENDPOINT} answered {error.response.status_code} for {hub_id}", f"later, {_AGAIN}"
            )
        case OSError(errno=errno.ENOSPC):
            return WeightsNotPulledError(f"the disk of {HF_HUB_CACHE} is full", f"free some, and {_AGAIN}")
        case OSError(errno=errno.EACCES | errno.EROFS | errno.EPERM):
            return WeightsNotPulledError(
                f"{HF_HUB_CACHE} can't be written", "name another place with HF_HOME"
            )
        case _:
            return WeightsNotPulledError(
                f"{ENDPOINT} can't be reached ({type(error).__name__})",
                f"see to the network (a mirror is named with HF_ENDPOINT), and {_AGAIN}",
            )
