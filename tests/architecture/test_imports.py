"""Who may import whom, and who may import the heavy libraries: the table of the architecture page."""

import subprocess
import sys
from pathlib import Path

import grimp
import pytest

ROOMS = ("backend", "frontend", "gpu_worker", "jobs", "moderation")

MAY_IMPORT = {
    "moderation": set[str](),
    "backend": {"moderation"},
    "frontend": {"backend", "moderation"},
    "jobs": {"backend", "moderation"},
    "gpu_worker": {"backend", "moderation"},
}

# A GPU host has no database: what its worker may know of us.
OPEN_TO_WORKERS = (
    "backend.accelerator",
    "backend.clock",
    "backend.ending",
    "backend.contracts",
    "backend.domain",
    "backend.ids",
    "backend.log",
    "backend.metrics",
    "backend.metrics_socket",
    "backend.notify",
    "backend.operator_errors",
    "backend.own_thread",
    "backend.recipes",
    "backend.scratch",
    "backend.settings",
    "backend.version",
    "backend.weights",
    "moderation.torch_shim",
)

# An external library and the only places that import it.
OWNERS = {
    "boto3": ("backend.storage.s3",),
    "botocore": ("backend.storage.s3",),
    "arq": ("jobs", "gpu_worker", "backend.contracts.arq_queue"),
    "diffusers": ("gpu_worker",),
    "huggingface_hub": ("backend.weights",),
    "torch": ("gpu_worker", "moderation.clip_classifier", "moderation.torch_shim", "moderation.mini_clip"),
    "transformers": ("gpu_worker",),
    "open_clip": ("gpu_worker", "moderation"),
    "reflex": ("frontend",),
}

DOMAIN_MAY_IMPORT = ("backend.domain",)


@pytest.fixture(scope="session")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph(*ROOMS, include_external_packages=True, cache_dir=None)


def inside(module: str, places: tuple[str, ...]) -> bool:
    return any(module == place or module.startswith(place + ".") for place in places)


def direct_imports(graph: grimp.ImportGraph) -> list[tuple[str, str]]:
    return [
        (importer, imported)
        for importer in sorted(graph.modules)
        for imported in sorted(graph.find_modules_directly_imported_by(importer))
    ]


def test_rooms_import_only_the_rooms_below_them(graph: grimp.ImportGraph) -> None:
    wrong = [
        f"{importer} imports {imported}"
        for importer, imported in direct_imports(graph)
        if (room := importer.split(".")[0]) in ROOMS
        and (other := imported.split(".")[0]) in ROOMS
        and other != room
        and other not in MAY_IMPORT[room]
    ]
    assert wrong == []


def test_a_gpu_worker_knows_only_what_a_host_without_a_database_may_know(graph: grimp.ImportGraph) -> None:
    wrong = [
        f"{importer} imports {imported}"
        for importer, imported in direct_imports(graph)
        if inside(importer, ("gpu_worker",))
        and imported.split(".")[0] in {"backend", "moderation"}
        and not inside(imported, OPEN_TO_WORKERS)
    ]
    assert wrong == []


def test_each_heavy_library_has_its_places(graph: grimp.ImportGraph) -> None:
    wrong = [
        f"{importer} imports {imported}"
        for importer, imported in direct_imports(graph)
        if imported in OWNERS and not inside(importer, OWNERS[imported])
    ]
    assert wrong == []


def test_the_domain_is_pure(graph: grimp.ImportGraph) -> None:
    standard = set(sys.stdlib_module_names)
    wrong = [
        f"{importer} imports {imported}"
        for importer, imported in direct_imports(graph)
        if inside(importer, DOMAIN_MAY_IMPORT)
        and not inside(imported, DOMAIN_MAY_IMPORT)
        and imported.split(".")[0] not in standard
    ]
    assert wrong == []


@pytest.mark.parametrize("room", ROOMS)
def test_no_modules_import_one_another_in_a_circle(graph: grimp.ImportGraph, room: str) -> None:
    own = {module for module in graph.modules if inside(module, (room,))}
    imports = {module: graph.find_modules_directly_imported_by(module) & own for module in own}
    assert circle(imports) == []


def circle(imports: dict[str, set[str]]) -> list[str]:
    """One circle of imports, or nothing: a module is taken away once it imports nothing that is left."""
    left = dict(imports)
    while True:
        free = {module for module, others in left.items() if not others & left.keys()}
        if not free:
            break
        left = {module: others for module, others in left.items() if module not in free}
    if not left:
        return []
    path = [min(left)]
    while True:
        following = min(left[path[-1]] & left.keys())
        if following in path:
            return [*path[path.index(following) :], following]
        path.append(following)


def test_the_circle_finder_finds_one() -> None:
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == ["b", "c", "b"]
    assert circle({"a": {"b"}, "b": {"c"}, "c": set()}) == []


@pytest.mark.parametrize("module", ["frontend.app", "backend.api", "backend.cli", "jobs.control"])
def test_the_processes_of_the_control_plane_import_no_torch(module: str, repository: Path) -> None:
    if (
        not (repository / (module.replace(".", "/") + ".py")).exists()
        and not (repository / module.replace(".", "/") / "__init__.py").exists()
    ):
        pytest.skip(f"{module} is not there")
    heavy = ("torch", "diffusers", "transformers", "open_clip")
    probe = f"import sys, {module}; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", probe],
        cwd=repository,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip().splitlines()[-1] == "[]"
