"""The policy: clauses, rules on text, prompt sets and thresholds, read from a versioned TOML file and checked."""

import functools
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moderation.text_normaliser import as_written
from moderation.verdict import Verdict

POLICY_DIR = Path(__file__).parent / "policies"
DEFAULT_VERSION = "v1"


class PolicyError(ValueError):
    """A policy file that can't be used; the message names the place and what would be right."""


@dataclass(frozen=True, kw_only=True)
class TermGroup:
    """Words and phrases with one meaning. A trailing `*` matches word beginnings.

    `ages_under` adds stated ages below that number ("12 yo", "nine-year-old") in several languages.
    """

    name: str
    terms: tuple[str, ...]
    ages_under: int | None = None


@dataclass(frozen=True, kw_only=True)
class TextRule:
    """Found when every group of `all_of` occurs, within `within` words of one another if that is given."""

    id: str
    verdict: Verdict
    all_of: tuple[str, ...]
    within: int | None = None
    in_negative_prompt: bool = False


@dataclass(frozen=True, kw_only=True)
class Clause:
    """One thing the policy forbids or wants a person to see."""

    id: str
    title: str
    severity: int
    creator_text: str
    rules: tuple[TextRule, ...]


@dataclass(frozen=True, kw_only=True)
class Concept:
    """A class of a classifier: its prompts (averaged) and the clause it counts towards, None when harmless."""

    label: str
    prompts: tuple[str, ...]
    clause: str | None = None


@dataclass(frozen=True, kw_only=True)
class Threshold:
    """From which score a frame counts for review and for block (None: never)."""

    review: float
    block: float | None = None


@dataclass(frozen=True, kw_only=True)
class ClassifierPolicy:
    """What one classifier is asked, and what its scores mean.

    A clip goes to review when `review_frames` frames reach a clause's review threshold, or one frame reaches
    `certain`; it is blocked when `block_frames` frames reach the block threshold. A lone image needs one.
    One that knows a `small_world` of drawn shapes says nothing about any other picture.
    """

    name: str
    concepts: tuple[Concept, ...]
    thresholds: Mapping[str, Threshold]
    certain: float
    review_frames: int = 2
    block_frames: int = 2
    small_world: bool = False

    @property
    def clauses(self) -> tuple[str, ...]:
        """The clauses this classifier can find."""
        return tuple(self.thresholds)


@dataclass(frozen=True, kw_only=True, eq=False)
class Policy:
    """One version of the whole policy. Compared and hashed by identity: it is parsed once."""

    version: str
    clauses: Mapping[str, Clause]
    groups: Mapping[str, TermGroup]
    harmless_phrases: tuple[str, ...]
    ordinary_words: frozenset[str]
    """Words of other languages that would be a term without their accents, or are one with them; as written."""
    not_ordinary_beside: frozenset[str]
    """Words of a text that isn't in one of those languages."""
    classifiers: Mapping[str, ClassifierPolicy]

    def clause(self, clause_id: str) -> Clause:
        """One clause. Raises KeyError for an id this version does not have."""
        return self.clauses[clause_id]

    def classifier(self, name: str) -> ClassifierPolicy:
        """The prompt set and thresholds of one classifier. Raises PolicyError where this policy has none."""
        try:
            return self.classifiers[name]
        except KeyError:
            known = ", ".join(sorted(self.classifiers))
            raise PolicyError(f"policy {self.version} knows no classifier {name!r}; it has {known}") from None


@functools.cache
def default_policy() -> Policy:
    """The policy in force, parsed once a process."""
    return read_policy(POLICY_DIR / f"{DEFAULT_VERSION}.toml")


def read_policy(path: Path) -> Policy:
    """Read and check a policy file. Raises PolicyError with the place of what is wrong."""
    try:
        return parse_policy(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise PolicyError(f"{path}: can't be read ({error.strerror})") from error
    except PolicyError as error:
        raise PolicyError(f"{path.name}: {error}") from None


def parse_policy(text: str) -> Policy:
    """Parse a policy from TOML text."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise PolicyError(f"not TOML: {error}") from None
    groups = {name: _group(name, raw) for name, raw in _table(data, "groups", "policy").items()}
    clauses = {
        clause.id: clause for clause in (_clause(raw, groups) for raw in _tables(data, "clauses", "policy"))
    }
    classifiers = {
        name: _classifier(name, raw, clauses) for name, raw in _table(data, "classifiers", "policy").items()
    }
    return Policy(
        version=_text(data, "version", "policy"),
        clauses=clauses,
        groups=groups,
        harmless_phrases=_texts(data, "harmless_phrases", "policy"),
        ordinary_words=frozenset(map(as_written, _texts(data, "ordinary_words", "policy"))),
        not_ordinary_beside=frozenset(map(as_written, _texts(data, "not_ordinary_beside", "policy"))),
        classifiers=classifiers,
    )


def _group(name: str, raw: Any) -> TermGroup:
    place = f"groups.{name}"
    if not isinstance(raw, dict):
        raise PolicyError(f"{place}: must be a table with `terms`")
    ages = raw.get("ages_under")
    if ages is not None and not (isinstance(ages, int) and 1 <= ages <= 21):
        raise PolicyError(f"{place}.ages_under: must be a whole number from 1 to 21, not {ages!r}")
    return TermGroup(name=name, terms=_texts(raw, "terms", place), ages_under=ages)


def _clause(raw: dict[str, Any], groups: Mapping[str, TermGroup]) -> Clause:
    clause_id = _text(raw, "id", "clauses[]")
    place = f"clauses.{clause_id}"
    severity = raw.get("severity")
    if not (isinstance(severity, int) and 1 <= severity <= 5):
        raise PolicyError(f"{place}.severity: must be 1 (mild) to 5 (gravest), not {severity!r}")
    rules = []
    for rule in raw.get("rules", []):
        rule_id = _text(rule, "id", f"{place}.rules[]")
        where = f"{place}.rules.{rule_id}"
        all_of = _texts(rule, "all_of", where)
        unknown = [name for name in all_of if name not in groups]
        if unknown or not all_of:
            raise PolicyError(f"{where}.all_of: names no known group: {unknown or 'empty'}")
        within = rule.get("within")
        if within is not None and not (isinstance(within, int) and within > 0):
            raise PolicyError(f"{where}.within: must be a number of words above 0, not {within!r}")
        rules.append(
            TextRule(
                id=rule_id,
                verdict=_verdict(rule, where),
                all_of=all_of,
                within=within,
                in_negative_prompt=bool(rule.get("in_negative_prompt", False)),
            )
        )
    return Clause(
        id=clause_id,
        title=_text(raw, "title", place),
        severity=severity,
        creator_text=_text(raw, "creator_text", place),
        rules=tuple(rules),
    )


def _classifier(name: str, raw: Any, clauses: Mapping[str, Clause]) -> ClassifierPolicy:
    place = f"classifiers.{name}"
    concepts = []
    for entry in _tables(raw, "concepts", place):
        label = _text(entry, "label", f"{place}.concepts[]")
        clause = entry.get("clause")
        if clause is not None and clause not in clauses:
            raise PolicyError(f"{place}.concepts.{label}.clause: no clause {clause!r}")
        prompts = _texts(entry, "prompts", f"{place}.concepts.{label}")
        if not prompts:
            raise PolicyError(f"{place}.concepts.{label}.prompts: needs at least one prompt")
        concepts.append(Concept(label=label, prompts=prompts, clause=clause))
    if len({concept.label for concept in concepts}) != len(concepts):
        raise PolicyError(f"{place}.concepts: a label occurs twice")
    thresholds = {}
    for clause, entry in _table(raw, "thresholds", place).items():
        where = f"{place}.thresholds.{clause}"
        if not any(concept.clause == clause for concept in concepts):
            raise PolicyError(f"{where}: no concept of this classifier counts towards {clause!r}")
        review = _share(entry, "review", where)
        block = _share(entry, "block", where) if "block" in entry else None
        if block is not None and block < review:
            raise PolicyError(f"{where}: block ({block}) must not be below review ({review})")
        thresholds[clause] = Threshold(review=review, block=block)
    missing = {concept.clause for concept in concepts if concept.clause} - set(thresholds)
    if missing:
        raise PolicyError(f"{place}.thresholds: none for {sorted(missing)}")
    return ClassifierPolicy(
        name=name,
        concepts=tuple(concepts),
        thresholds=thresholds,
        certain=_share(raw, "certain", place),
        review_frames=_count(raw, "review_frames", place),
        block_frames=_count(raw, "block_frames", place),
        small_world=raw.get("small_world") is True,
    )


def _table(data: Any, key: str, place: str) -> dict[str, Any]:
    value = data.get(key)
    if not isinstance(value, dict):
        raise PolicyError(f"{place}.{key}: must be a table")
    return value


def _tables(data: Any, key: str, place: str) -> list[dict[str, Any]]:
    value = data.get(key)
    if not isinstance(value, list) or not value or not all(isinstance(entry, dict) for entry in value):
        raise PolicyError(f"{place}.{key}: must be a list of tables")
    return value


def _text(data: Mapping[str, Any], key: str, place: str) -> str:
    value = data.get(key)
    if not isinstance(value, str) or not value.strip():
        raise PolicyError(f"{place}.{key}: must be a text")
    return " ".join(value.split())


def _texts(data: Mapping[str, Any], key: str, place: str) -> tuple[str, ...]:
    value = data.get(key)
    if not isinstance(value, list) or not all(isinstance(entry, str) and entry.strip() for entry in value):
        raise PolicyError(f"{place}.{key}: must be a list of texts")
    return tuple(value)


def _verdict(data: Mapping[str, Any], place: str) -> Verdict:
    try:
        return Verdict(data.get("action", ""))
    except ValueError:
        raise PolicyError(f"{place}.action: must be allow, review or block") from None


def _share(data: Any, key: str, place: str) -> float:
    value = data.get(key) if isinstance(data, dict) else None
    if not isinstance(value, int | float) or not 0 < value <= 1:
        raise PolicyError(f"{place}.{key}: must be a score above 0 and up to 1, not {value!r}")
    return float(value)


def _count(data: Mapping[str, Any], key: str, place: str) -> int:
    value = data.get(key)
    if not isinstance(value, int) or value < 1:
        raise PolicyError(f"{place}.{key}: must be a number of frames from 1, not {value!r}")
    return value
