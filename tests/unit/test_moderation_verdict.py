import pytest

from moderation.verdict import Finding, Ruling, Surface, Verdict, combine, rule_on, worst


def finding(verdict: Verdict, clause: str = "weapons") -> Finding:
    return Finding(
        clause=clause, score=0.7, threshold=0.5, verdict=verdict, surface=Surface.VIDEO, at_s=1.25, detail="x"
    )


def ruling(*verdicts: Verdict, score: float = 0.2) -> Ruling:
    return rule_on(
        [finding(verdict) for verdict in verdicts],
        policy_version="1",
        classifier="c/1",
        scores=[("weapons", score)],
    )


def test_the_worst_verdict_wins() -> None:
    assert worst([Verdict.ALLOW, Verdict.BLOCK, Verdict.REVIEW]) is Verdict.BLOCK
    assert worst([]) is Verdict.ALLOW
    assert combine([ruling(), ruling(Verdict.REVIEW)]).verdict is Verdict.REVIEW


def test_combining_keeps_every_finding_and_the_highest_score() -> None:
    both = combine([ruling(Verdict.REVIEW, score=0.9), ruling(Verdict.BLOCK, score=0.3)])
    assert len(both.findings) == 2
    assert both.scores == (("weapons", 0.9),)


def test_nothing_judged_is_no_verdict() -> None:
    with pytest.raises(ValueError, match="no rulings"):
        combine([])


def test_the_gravest_finding_names_the_clause() -> None:
    found = rule_on(
        [finding(Verdict.REVIEW, "hate"), finding(Verdict.BLOCK, "csae")], policy_version="1", classifier="c"
    )
    assert found.clause == "csae"
    assert found.clauses == ("csae", "hate")
    assert ruling().clause is None


def test_a_ruling_survives_json() -> None:
    before = ruling(Verdict.REVIEW, Verdict.BLOCK)
    assert Ruling.from_json(before.to_json()) == before


def test_json_that_is_no_ruling_is_refused() -> None:
    with pytest.raises(ValueError, match="not a ruling"):
        Ruling.from_json({"verdict": "allow"})
