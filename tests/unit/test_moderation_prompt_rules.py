import subprocess
import sys
import time
from pathlib import Path

import pytest

from moderation.evaluate import measure_prompts, read_prompts
from moderation.policy import default_policy
from moderation.prompt_rules import judge_prompt, judge_texts
from moderation.text_normaliser import normalise
from moderation.verdict import Surface, Verdict

PROMPTS = Path(__file__).parents[1] / "data" / "moderation_prompts.jsonl"
POLICY = default_policy()


def verdict_on(text: str) -> tuple[Verdict, str | None]:
    ruling = judge_prompt(text, POLICY)
    return ruling.verdict, ruling.clause


def test_the_labelled_set_is_met_by_every_clause() -> None:
    figures = measure_prompts(read_prompts(PROMPTS), POLICY)
    for clause in figures.clauses:
        assert clause.found >= 0.95 * clause.violations, (clause, figures.mistakes)
    assert figures.harmless_stopped == 0, figures.mistakes
    assert figures.hard_negatives_stopped <= 1, figures.mistakes


@pytest.mark.parametrize(
    "text",
    [
        "Scunthorpe in the rain",
        "grape harvest",
        "assassin's creed poster",
        "children flying a kite",
        "a white skull staying still on a black background",
        "a red blood splatter growing on a white background",
        "",
    ],
)
def test_harmless_words_pass(text: str) -> None:
    assert verdict_on(text) == (Verdict.ALLOW, None)


@pytest.mark.parametrize(
    "text",
    [
        "nude 12 year old",
        "nude girl aged 9",
        "a naked 7yo",
        "sexy twelve-year-old",
        "ein nackter 12-jähriger",
        "13岁 裸照",
    ],
)
def test_a_stated_age_counts_as_a_minor(text: str) -> None:
    assert verdict_on(text) == (Verdict.BLOCK, "csae")


@pytest.mark.parametrize("text", ["a nude 25 year old model", "a nude and a 12 year old whisky"])
def test_an_adult_age_or_an_old_whisky_is_no_minor(text: str) -> None:
    assert verdict_on(text) == (Verdict.REVIEW, "sexual_content")


@pytest.mark.parametrize(
    "text",
    [
        "p0rn",
        "рοrn",
        "p o r n",
        "p.o.r.n",
        "po\u200brn",
        "PORRRRN",
        "ｐｏｒｎ",
        "pörn",
        "p-o-r-n",
        "po\u00adrn",
    ],
)
def test_disguised_words_are_read(text: str) -> None:
    assert verdict_on(text) == (Verdict.BLOCK, "sexual_content")


def test_a_prompt_split_over_fields_is_read_together() -> None:
    apart = {Surface.PROMPT: "a schoolgirl on a sofa", Surface.STYLE: "erotic photography"}
    assert judge_texts(apart, POLICY).clause == "csae"
    assert judge_prompt(apart[Surface.PROMPT], POLICY).verdict is Verdict.ALLOW


def test_a_negative_prompt_may_name_what_it_does_not_want() -> None:
    unwanted = judge_texts(
        {Surface.PROMPT: "kids on a beach", Surface.NEGATIVE_PROMPT: "nude, nsfw, gore"}, POLICY
    )
    assert unwanted.verdict is Verdict.ALLOW
    hidden = judge_prompt("child porn", POLICY, surface=Surface.NEGATIVE_PROMPT)
    assert hidden.verdict is Verdict.BLOCK


def test_far_apart_words_go_to_a_person_instead_of_being_blocked() -> None:
    text = (
        "two children play. " + "the camera pans over green hills. " * 40 + "somewhere a couple is having sex"
    )
    found = {finding.detail: finding.verdict for finding in judge_prompt(text, POLICY).findings}
    assert found["csae.minor_sexual_far"] is Verdict.REVIEW
    assert "csae.minor_explicit" not in found


def test_findings_never_quote_the_prompt() -> None:
    ruling = judge_prompt("a zanzibarian naked child", POLICY)
    assert "zanzibarian" not in str(ruling.to_json())


@pytest.mark.parametrize(
    "text", ["a fox in the snow " * 550, "1!" * 5000, "a " * 5000, "裸" * 10_000, "aaa" * 3333]
)
def test_the_longest_prompt_is_answered_in_bounded_time(text: str) -> None:
    began = time.process_time()
    judge_prompt(text[:10_000], POLICY)
    assert time.process_time() - began < 1.0


def test_normalising_keeps_what_was_written_first() -> None:
    assert normalise("Ein ＢÄR").words[1].forms[0] == "bar"


def test_the_api_process_needs_no_torch_for_rules_and_images() -> None:
    program = (
        "import sys; import moderation.prompt_rules, moderation.images, moderation.policy, moderation.judge;"
        "import moderation.fake_classifier; sys.exit('torch' in sys.modules or 'open_clip' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=PROMPTS.parents[2], timeout=60)
