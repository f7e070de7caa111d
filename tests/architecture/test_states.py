"""One setter a machine: the state of a job or an artifact is written in its repository, and nowhere else."""

import ast
import re
from pathlib import Path

import pytest

ROOMS = ("backend", "jobs", "frontend")
SETTERS = {
    "Artifact": "backend/db/repositories/artifacts.py",
    "Job": "backend/db/repositories/jobs.py",
}
TABLES = {"Artifact": "artifacts", "Job": "jobs"}


def writes_of_state(source: str, model: str) -> list[int]:
    """Lines that write the state of this model's rows: by an update, by an attribute, or in plain SQL."""
    in_sql = re.compile(rf"\bupdate\s+{TABLES[model]}\b.*?\bset\b(?:(?!\bwhere\b).)*\bstate\s*=", re.I | re.S)
    lines = []
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Call(func=ast.Attribute(attr="values") as chain, keywords=named):
                if f"update({model})" in ast.unparse(chain) and any(word.arg == "state" for word in named):
                    lines.append(node.lineno)
            case ast.Assign(targets=[ast.Attribute(attr="state")], value=value):
                if f"{model}State" in ast.unparse(value):
                    lines.append(node.lineno)
            case ast.Constant(value=str(words)) if in_sql.search(words):
                lines.append(node.lineno)
    return sorted(lines)


@pytest.mark.parametrize("model", list(SETTERS))
def test_the_state_is_written_by_its_setter_alone(repository: Path, model: str) -> None:
    found = [
        f"{path.relative_to(repository)}:{line}"
        for room in ROOMS
        for path in sorted((repository / room).rglob("*.py"))
        if path != repository / SETTERS[model] and "versions" not in path.parts
        for line in writes_of_state(path.read_text(encoding="utf-8"), model)
    ]
    assert found == []


@pytest.mark.parametrize("model", list(SETTERS))
def test_the_setter_itself_is_found(repository: Path, model: str) -> None:
    assert writes_of_state((repository / SETTERS[model]).read_text(encoding="utf-8"), model)


@pytest.mark.parametrize(
    "line",
    [
        "update(Artifact).where(x == 1).values(key=k, state='released')",
        "artifact.state = ArtifactState.RELEASED.value",
        "text('UPDATE artifacts a SET swept_at = now(), state = :s WHERE id = 1')",
    ],
)
def test_each_way_of_writing_a_state_is_found(line: str) -> None:
    assert writes_of_state(line, "Artifact") == [1]


@pytest.mark.parametrize(
    "line",
    [
        "update(Artifact).where(col(Artifact.state) == 'released').values(key=k)",
        "text('UPDATE artifacts SET swept_at = now() WHERE state = :s')",
        "update(Attempt).values(state='done')",
    ],
)
def test_what_only_reads_a_state_is_let_be(line: str) -> None:
    assert writes_of_state(line, "Artifact") == []


def bare_states(source: str) -> list[int]:
    """Lines where a worker's state or an input verdict is compared with, or set to, a bare word."""
    is_word = lambda node: isinstance(node, ast.Constant) and isinstance(node.value, str)  # noqa: E731
    tree = ast.parse(source)
    columns = {node.slice for node in ast.walk(tree) if isinstance(node, ast.Subscript)}
    lines = []
    for node in ast.walk(tree):
        match node:
            case ast.Compare(left=ast.Attribute(attr="input_verdict"), comparators=[right]) if is_word(right):
                lines.append(node.lineno)
            case ast.Compare(
                left=ast.Attribute(value=ast.Name(id="worker"), attr="state"), comparators=[right]
            ):
                if is_word(right):
                    lines.append(node.lineno)
            case ast.Assign(targets=[ast.Attribute(attr="input_verdict")], value=value) if is_word(value):
                lines.append(node.lineno)
            case ast.keyword(arg="input_verdict", value=value) if is_word(value):
                lines.append(value.lineno)
            case ast.Constant(value="draining" | "quarantined") if node not in columns:
                lines.append(node.lineno)
    return lines


def test_workers_states_and_input_verdicts_are_words_of_the_domain(repository: Path) -> None:
    homes = {repository / "backend/domain/worker.py", repository / "backend/domain/generation.py"}
    found = [
        f"{path.relative_to(repository)}:{line}"
        for room in ROOMS
        for path in sorted((repository / room).rglob("*.py"))
        if path not in homes and "versions" not in path.parts
        for line in bare_states(path.read_text(encoding="utf-8"))
    ]
    assert found == []
