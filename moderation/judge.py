"""Rulings on images and whole clips: samples frames, asks a classifier, and applies the policy's thresholds.

Whatever goes wrong on the way is a ruling for review. It is never an allow.
"""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from moderation.classifier import Classifier
from moderation.clip_pictures import ClipDecoder
from moderation.frames import ClipShape, SampledFrame, open_image, split_sheet
from moderation.policy import ClassifierPolicy, Policy
from moderation.verdict import (
    CLASSIFIER_ERROR,
    Finding,
    NotAsOrdered,
    Ruling,
    Surface,
    Verdict,
    combine,
    rule_on,
)


def judge_clip(
    video: Path,
    classifier: Classifier,
    policy: Policy,
    *,
    decoder: ClipDecoder,
    thumbnail: Path | None = None,
    spritesheet: Path | None = None,
    sheet_columns: int | None = None,
    sheet_rows: int | None = None,
    shape: ClipShape | None = None,
) -> Ruling:
    """Judge a clip with all that will be shown of it. The worst part decides.

    A spritesheet is judged picture by picture when its columns and rows are known, and as a whole otherwise.
    Errors of decoding or of the classifier become a finding for review. Raises NotAsOrdered where the files are not of
    `shape`, or end what decodes them: nobody has to look at those.
    """
    try:
        seen = decoder.pictures(video, thumbnail=thumbnail, spritesheet=spritesheet, shape=shape)
        rulings = [_judge_frames(seen.frames, Surface.VIDEO, classifier, policy)]
        if seen.thumbnail is not None:
            rulings.append(_judge_pictures([seen.thumbnail], Surface.THUMBNAIL, classifier, policy))
        if seen.spritesheet is not None:
            pictures = [seen.spritesheet]
            if sheet_columns and sheet_rows:
                pictures = list(split_sheet(seen.spritesheet, sheet_columns, sheet_rows))
            rulings.append(_judge_pictures(pictures, Surface.SPRITESHEET, classifier, policy))
        return combine(rulings)
    except NotAsOrdered:
        raise
    except Exception as error:  # noqa: BLE001  (an outer edge: what can't be judged goes to a person)
        return unjudged(error, Surface.VIDEO, classifier, policy)


def judge_image(
    source: Path | str | bytes | Image.Image,
    classifier: Classifier,
    policy: Policy,
    *,
    surface: Surface = Surface.IMAGE,
) -> Ruling:
    """Judge one picture, as a file, its bytes or pixels. Errors become a finding for review."""
    try:
        image = source if isinstance(source, Image.Image) else open_image(source)
        return _judge_pictures([image], surface, classifier, policy)
    except Exception as error:  # noqa: BLE001  (an outer edge: what can't be judged goes to a person)
        return unjudged(error, surface, classifier, policy)


def unjudged(error: Exception, surface: Surface, classifier: Classifier, policy: Policy) -> Ruling:
    """The ruling where judging failed: a person has to look."""
    finding = Finding(
        clause=CLASSIFIER_ERROR,
        score=1.0,
        threshold=1.0,
        verdict=Verdict.REVIEW,
        surface=surface,
        detail=f"{type(error).__name__}: {error}"[:300],
    )
    return rule_on([finding], policy_version=policy.version, classifier=classifier.version)


def clause_scores(scores: dict[str, float], asked: ClassifierPolicy) -> dict[str, float]:
    """A frame's score by clause. What counts against several clauses together counts for the likeliest of them,
    so that a doubt between two bad things is no way through.
    """
    by_clause = dict.fromkeys(asked.clauses, 0.0)
    for concept in asked.concepts:
        if concept.clause is not None:
            by_clause[concept.clause] += scores[concept.label]
    likeliest = max(by_clause, key=by_clause.__getitem__)
    return {**by_clause, likeliest: min(1.0, sum(by_clause.values()))}


def weigh_frames(
    frames: Sequence[dict[str, float]],
    times_s: Sequence[float | None],
    asked: ClassifierPolicy,
    surface: Surface,
) -> list[Finding]:
    """The findings that follow from scores by clause (one dict a frame): pure."""
    findings = []
    for clause, threshold in asked.thresholds.items():
        scores = [frame[clause] for frame in frames]
        peak = max(range(len(scores)), key=scores.__getitem__)
        needed_to_block = min(asked.block_frames, len(scores))
        needed_to_review = min(asked.review_frames, len(scores))
        block = threshold.block
        if block is not None and sum(score >= block for score in scores) >= needed_to_block:
            verdict, limit = Verdict.BLOCK, block
        elif sum(score >= threshold.review for score in scores) >= needed_to_review:
            verdict, limit = Verdict.REVIEW, threshold.review
        elif scores[peak] >= asked.certain:
            verdict, limit = Verdict.REVIEW, asked.certain
        else:
            continue
        findings.append(
            Finding(
                clause=clause,
                score=round(scores[peak], 4),
                threshold=limit,
                verdict=verdict,
                surface=surface,
                at_s=times_s[peak],
            )
        )
    return findings


def _judge_frames(
    frames: Sequence[SampledFrame], surface: Surface, classifier: Classifier, policy: Policy
) -> Ruling:
    return _judge(
        [frame.image for frame in frames], [frame.at_s for frame in frames], surface, classifier, policy
    )


def _judge_pictures(
    pictures: Sequence[Image.Image],
    surface: Surface,
    classifier: Classifier,
    policy: Policy,
) -> Ruling:
    return _judge(pictures, [None] * len(pictures), surface, classifier, policy)


def _judge(
    pictures: Sequence[Image.Image],
    times_s: Sequence[float | None],
    surface: Surface,
    classifier: Classifier,
    policy: Policy,
) -> Ruling:
    asked = policy.classifier(classifier.name)
    frames = [clause_scores(scores, asked) for scores in classifier.score_images(pictures)]
    if len(frames) != len(pictures):
        raise RuntimeError(f"the classifier scored {len(frames)} of {len(pictures)} pictures")
    peaks = {clause: max(frame[clause] for frame in frames) for clause in asked.clauses}
    return rule_on(
        weigh_frames(frames, times_s, asked, surface),
        policy_version=policy.version,
        classifier=classifier.version,
        scores=[(clause, round(score, 4)) for clause, score in sorted(peaks.items())],
    )
