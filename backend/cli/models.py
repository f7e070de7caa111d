"""Models on this machine: `models list|check|pull|measure`. For GPU hosts too: no studio or database is needed."""

from pathlib import Path
from typing import Annotated

import typer

from backend.cli.upkeep import become_module
from backend.operator_errors import OperatorError
from backend.recipes import CATALOGUE, Recipe

Names = Annotated[list[str], typer.Argument(help="Models by name, as `zoetrope models list` prints them.")]
SomeNames = Annotated[
    list[str] | None, typer.Argument(help="Models by name. All that are here, if none is named.")
]


def register(app: typer.Typer) -> None:
    """Adds these commands."""
    models = typer.Typer(help="Models and their weights on this machine.", no_args_is_help=True)
    models.command("list")(list_models)
    models.command("check")(check)
    models.command("pull")(pull)
    models.command("measure")(measure)
    app.add_typer(models, name="models")


def list_models() -> None:
    """Each model this release knows: whether its weights are here, what it takes, and its licence."""
    from backend.weights import problems_of, weights_folder

    rows = [("NAME", "WEIGHTS", "GPU MEMORY", "DOWNLOAD", "LICENCE")]
    for recipe in CATALOGUE.values():
        state = "here" if not problems_of(recipe) else "broken" if weights_folder(recipe) else "-"
        memory = f"{recipe.memory_gb:g} GB" if recipe.needs_gpu else "no GPU needed"
        size_gb = recipe.weights.download_gb
        download = f"{size_gb:.0f} GB" if size_gb else ("?" if recipe.weights.hub_id else "-")
        rows.append((recipe.name, state, memory, download, recipe.licence))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def check(names: SomeNames = None) -> None:
    """Whether the weights are whole: every file of every component, and of the pipeline that the model needs.

    Exit status 1 when some are not.
    """
    from backend.weights import problems_of, weights_folder
    from backend.weights.check import remedy

    recipes = _recipes(names) if names else [r for r in CATALOGUE.values() if weights_folder(r) is not None]
    broken = False
    for recipe in recipes:
        problems = problems_of(recipe)
        broken = broken or bool(problems)
        print(f"{recipe.name}: {'; '.join(problems) or 'whole'}")
        if problems:
            print(f"    {remedy(recipe)}")
    if broken:
        raise typer.Exit(1)


def pull(names: Names) -> None:
    """Fetch the weights of models from the hub, as far as they are not here. A worker then serves them.

    Into the hub's cache: HF_HOME names another place. HF_TOKEN for models that want a licence accepted.
    """
    from backend.weights import problems_of, pull_weights

    for recipe in _recipes(names):
        if recipe.weights.hub_id is None and not problems_of(recipe):
            print(f"{recipe.name}: ships with Zoetrope, nothing to fetch")
            continue
        folder = pull_weights(recipe, print)
        print(f"{recipe.name}: whole, in {folder}")


def measure(
    name: Annotated[str, typer.Argument(help="One model; its weights are here.")],
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Keep the clip here.")] = None,
    steps: Annotated[
        int | None, typer.Option(help="Default: the fewest that the model takes.", min=1)
    ] = None,
) -> None:
    """Render the largest clip by the clock on this machine, and print what the recipe's cost and memory should say.

    Also the quickest way to see that a model works here.
    """
    _recipes([name])
    arguments = ["--steps", str(steps)] if steps is not None else []
    if output is not None:
        arguments += ["--output", str(output.absolute())]
    become_module("gpu_worker.measure", name, *arguments)


def _recipes(names: list[str]) -> list[Recipe]:
    for name in names:
        if name not in CATALOGUE:
            raise OperatorError(f"there is no model {name!r}", f"choose of {', '.join(CATALOGUE)}")
    return [CATALOGUE[name] for name in dict.fromkeys(names)]
