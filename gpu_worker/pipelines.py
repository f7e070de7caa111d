"""Diffusers pipelines from a recipe and the folder of its weights."""

import importlib
import inspect
from pathlib import Path
from typing import Any

import torch

from moderation import torch_shim  # isort: skip  # before anything that imports torchvision
import diffusers

from backend.recipes import Recipe

torch_shim.install()


def load_pipeline(recipe: Recipe, folder: Path) -> Any:
    """The recipe's pipeline on the CPU, from the files of `folder` alone. Raises what the libraries raise."""
    made_by = named_class(recipe.pipeline_class)
    default = getattr(torch, recipe.dtype)
    dtypes = {name: getattr(torch, dtype) for name, dtype in recipe.component_dtypes.items()}
    # Safetensors alone: a pickle runs code when it is loaded.
    where: dict[str, Any] = {"local_files_only": True, "use_safetensors": True}
    own = {
        name: named_class(spelled).from_pretrained(
            folder, subfolder=name, dtype=dtypes.get(name, default), **where
        )
        for name, spelled in recipe.component_classes.items()
    }
    where["dtype"] = {"default": default, **dtypes} if dtypes else default
    if not own:
        return made_by.from_pretrained(folder, **where)
    # diffusers refuses classes that it does not know, so the pipeline is put together around them.
    known = made_by.from_pretrained(folder, **dict.fromkeys(own), **where)
    settings = {name: value for name, value in known.config.items() if name in known._optional_components}
    return made_by(**{**settings, **known.components, **own})


def for_images(recipe: Recipe, pipe: Any) -> Any:
    """What renders a clip from images: the pipeline itself, or the recipe's other one around the same components."""
    if recipe.image_pipeline_class is None:
        return pipe
    # Not `from_pipe`: unless told each component's dtype, it casts them all to float32.
    made_by = named_class(recipe.image_pipeline_class)
    offered = {**pipe.config, **pipe.components}
    takes = inspect.signature(made_by.__init__).parameters
    other = made_by(**{name: value for name, value in offered.items() if name in takes})
    other.set_progress_bar_config(disable=True)
    return other


def named_class(spelled: str) -> Any:
    """The class that `module:Class` names, or one of diffusers' by its name."""
    module, _, name = spelled.rpartition(":")
    return getattr(importlib.import_module(module) if module else diffusers, name)
