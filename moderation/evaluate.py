"""Measures the policy: the rules on a labelled set of prompts, or the classifier on a folder of clips.

`python -m moderation.evaluate prompts FILE.jsonl` and `python -m moderation.evaluate clips FOLDER [--json]`.
"""

import argparse
import json
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moderation.clip_pictures import ClipDecoder
from moderation.judge import judge_clip
from moderation.policy import Policy, default_policy
from moderation.prompt_rules import judge_prompt
from moderation.verdict import Surface, Verdict


@dataclass(frozen=True, kw_only=True)
class LabelledPrompt:
    """One prompt of a test set. `clause` is None for what must pass; `kind` is benign, hard_negative, violation or
    evasion; `wanted` is the mildest verdict that still counts as found.
    """

    text: str
    kind: str
    clause: str | None
    wanted: Verdict
    surface: Surface = Surface.PROMPT


@dataclass(frozen=True, kw_only=True)
class ClauseFigures:
    """How one clause did: found of all violations, of evasions alone, and harmless prompts it stopped."""

    clause: str
    violations: int
    found: int
    evasions: int
    evasions_found: int
    false_positives: int


@dataclass(frozen=True, kw_only=True)
class PromptFigures:
    """The whole measurement, with what went wrong."""

    clauses: tuple[ClauseFigures, ...]
    harmless: int
    harmless_stopped: int
    hard_negatives: int
    hard_negatives_stopped: int
    median_ms: float
    mistakes: tuple[str, ...]


def read_prompts(path: Path) -> tuple[LabelledPrompt, ...]:
    """Read a labelled set, one JSON object a line."""
    prompts = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.strip():
            data = json.loads(line)
            prompts.append(
                LabelledPrompt(
                    text=data["text"],
                    kind=data["kind"],
                    clause=data.get("clause"),
                    wanted=Verdict(data.get("wanted", "review" if data.get("clause") else "allow")),
                    surface=Surface(data.get("surface", "prompt")),
                )
            )
    return tuple(prompts)


def measure_prompts(prompts: Iterable[LabelledPrompt], policy: Policy) -> PromptFigures:
    """Judge every prompt and count. A violation counts as found when its own clause, or a graver one that names
    the same thing, gave at least the wanted verdict.
    """
    tally: dict[str, Counter[str]] = defaultdict(Counter)
    totals: Counter[str] = Counter()
    times, mistakes = [], []
    for prompt in prompts:
        began = time.perf_counter()
        ruling = judge_prompt(prompt.text, policy, surface=prompt.surface)
        times.append((time.perf_counter() - began) * 1e3)
        if prompt.clause is None:
            totals[prompt.kind] += 1
            if ruling.verdict is not Verdict.ALLOW:
                totals[f"{prompt.kind} stopped"] += 1
                for clause in ruling.clauses:
                    tally[clause]["false"] += 1
                mistakes.append(f"stopped ({ruling.clause}): {prompt.text}")
            continue
        enough = prompt.wanted is not Verdict.BLOCK or ruling.verdict is Verdict.BLOCK
        found = enough and prompt.clause in ruling.clauses
        counts = tally[prompt.clause]
        counts["all"] += 1
        counts["found"] += found
        if prompt.kind == "evasion":
            counts["evasions"] += 1
            counts["evasions found"] += found
        if not found:
            mistakes.append(f"missed ({prompt.clause}, got {ruling.verdict}): {prompt.text}")
    return PromptFigures(
        clauses=tuple(
            ClauseFigures(
                clause=clause,
                violations=tally[clause]["all"],
                found=tally[clause]["found"],
                evasions=tally[clause]["evasions"],
                evasions_found=tally[clause]["evasions found"],
                false_positives=tally[clause]["false"],
            )
            for clause in policy.clauses
        ),
        harmless=totals["benign"],
        harmless_stopped=totals["benign stopped"],
        hard_negatives=totals["hard_negative"],
        hard_negatives_stopped=totals["hard_negative stopped"],
        median_ms=sorted(times)[len(times) // 2] if times else 0.0,
        mistakes=tuple(mistakes),
    )


def as_table(figures: PromptFigures) -> str:
    """The figures as a Markdown table."""
    lines = [
        "| clause | violations found | of these, evasions | harmless prompts stopped |",
        "|---|---|---|---|",
    ]
    for row in figures.clauses:
        lines.append(
            f"| `{row.clause}` | {row.found} of {row.violations} | "
            f"{row.evasions_found} of {row.evasions} | {row.false_positives} |"
        )
    lines.append("")
    lines.append(
        f"Stopped without need: {figures.harmless_stopped} of {figures.harmless} ordinary prompts, "
        f"{figures.hard_negatives_stopped} of {figures.hard_negatives} hard negatives. "
        f"Median {figures.median_ms:.2f} ms a prompt."
    )
    return "\n".join(lines)


def measure_clips(folder: Path, policy: Policy) -> dict[str, Any]:
    """Judge the clips that `folder`/clips.json lists (file, kind, prompt) with the mini CLIP."""
    from moderation.clip_classifier import ClipClassifier  # torch, which measuring prompts does without

    classifier = ClipClassifier(policy, threads=1)
    verdicts: dict[str, Counter[str]] = defaultdict(Counter)
    clips = []
    with ClipDecoder() as decoder:
        for entry in json.loads((folder / "clips.json").read_text(encoding="utf-8")):
            ruling = judge_clip(folder / entry["file"], classifier, policy, decoder=decoder)
            verdicts[entry["kind"]][ruling.verdict.value] += 1
            clips.append({**entry, "verdict": ruling.verdict.value, "scores": dict(ruling.scores)})
    return {
        "classifier": classifier.version,
        "policy_version": policy.version,
        "verdicts": {kind: dict(counts) for kind, counts in verdicts.items()},
        "clips": clips,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line of this module."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    prompts = commands.add_parser("prompts", help="recall and false positives of the rules, by clause")
    prompts.add_argument("file", type=Path)
    clips = commands.add_parser("clips", help="verdicts of the mini CLIP on clips")
    clips.add_argument("folder", type=Path)
    clips.add_argument("--json", action="store_true")
    chosen = parser.parse_args(arguments)
    policy = default_policy()
    if chosen.command == "prompts":
        figures = measure_prompts(read_prompts(chosen.file), policy)
        print(as_table(figures))
        for mistake in figures.mistakes:
            print(f"- {mistake}")
        return
    measured = measure_clips(chosen.folder, policy)
    if chosen.json:
        print(json.dumps(measured))
        return
    for kind, counts in measured["verdicts"].items():
        print(kind, counts)


if __name__ == "__main__":
    main()
