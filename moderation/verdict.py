"""Verdicts, the findings behind them, and how several become one ruling: the worst wins. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class Verdict(StrEnum):
    """What may happen to a text, an image or a clip, from mild to grave."""

    ALLOW = "allow"
    REVIEW = "review"
    BLOCK = "block"


class Surface(StrEnum):
    """Where a finding was made."""

    PROMPT = "prompt"
    NEGATIVE_PROMPT = "negative_prompt"
    STYLE = "style"
    NAME = "name"
    IMAGE = "image"
    VIDEO = "video"
    THUMBNAIL = "thumbnail"
    SPRITESHEET = "spritesheet"


_GRAVITY = {Verdict.ALLOW: 0, Verdict.REVIEW: 1, Verdict.BLOCK: 2}

CLASSIFIER_ERROR = "classifier_error"
"""The clause of a finding that says: nobody could judge this, so a person must."""


class NotAsOrdered(ValueError):
    """A clip's files are of other sizes or lengths than was ordered, or take too long to look at: not to be judged."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was found: how strongly, against which threshold, where, and at which second of a clip.

    `detail` is for moderators and logs (a rule's id, an error's class); it never quotes the text judged.
    """

    clause: str
    score: float
    threshold: float
    verdict: Verdict
    surface: Surface
    at_s: float | None = None
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class Ruling:
    """The verdict on one thing, the findings it rests on, and the policy and classifier that made it.

    `scores` holds the highest score by clause, also where nothing was found, for review and backtests.
    """

    verdict: Verdict
    findings: tuple[Finding, ...]
    policy_version: str
    classifier: str
    scores: tuple[tuple[str, float], ...] = ()

    @property
    def clause(self) -> str | None:
        """The clause of the gravest finding, the first of them; None where nothing was found."""
        return next(iter(self.clauses), None)

    @property
    def clauses(self) -> tuple[str, ...]:
        """The clauses found, gravest verdict first, each once."""
        ordered = sorted(self.findings, key=lambda found: -_GRAVITY[found.verdict])
        return tuple(dict.fromkeys(found.clause for found in ordered))

    def to_json(self) -> dict[str, object]:
        """This ruling as a JSON object; `from_json` reads it back, equal."""
        return {
            "verdict": self.verdict.value,
            "findings": [
                {**asdict(found), "verdict": found.verdict.value, "surface": found.surface.value}
                for found in self.findings
            ],
            "policy_version": self.policy_version,
            "classifier": self.classifier,
            "scores": [list(entry) for entry in self.scores],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Ruling":
        """Read a ruling. Raises ValueError where a field is missing or a verdict unknown."""
        try:
            return cls(
                verdict=Verdict(data["verdict"]),
                findings=tuple(
                    Finding(
                        clause=str(found["clause"]),
                        score=float(found["score"]),
                        threshold=float(found["threshold"]),
                        verdict=Verdict(found["verdict"]),
                        surface=Surface(found["surface"]),
                        at_s=None if found.get("at_s") is None else float(found["at_s"]),
                        detail=str(found.get("detail", "")),
                    )
                    for found in data["findings"]
                ),
                policy_version=str(data["policy_version"]),
                classifier=str(data["classifier"]),
                scores=tuple((str(clause), float(score)) for clause, score in data.get("scores", ())),
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a ruling: {error!r}") from error


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """The gravest of some verdicts; allow where there is none."""
    return max(verdicts, key=_GRAVITY.__getitem__, default=Verdict.ALLOW)


def rule_on(
    findings: Iterable[Finding],
    *,
    policy_version: str,
    classifier: str,
    scores: Iterable[tuple[str, float]] = (),
) -> Ruling:
    """The ruling that follows from findings."""
    found = tuple(findings)
    return Ruling(
        verdict=worst(finding.verdict for finding in found),
        findings=found,
        policy_version=policy_version,
        classifier=classifier,
        scores=tuple(scores),
    )


def combine(rulings: Iterable[Ruling]) -> Ruling:
    """One ruling out of several on parts of one thing: the worst verdict, all findings, the highest scores.

    Raises ValueError when there is nothing to combine: an unjudged thing has no verdict.
    """
    parts = tuple(rulings)
    if not parts:
        raise ValueError("no rulings to combine")
    peaks: dict[str, float] = {}
    for part in parts:
        for clause, score in part.scores:
            peaks[clause] = max(score, peaks.get(clause, 0.0))
    return rule_on(
        (found for part in parts for found in part.findings),
        policy_version="+".join(dict.fromkeys(part.policy_version for part in parts)),
        classifier="+".join(dict.fromkeys(part.classifier for part in parts)),
        scores=sorted(peaks.items()),
    )
