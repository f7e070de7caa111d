"""The policy's rules on text. Answers in the request: no model, no torch, no regular expressions on user text."""

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from moderation.policy import Policy, TermGroup, TextRule
from moderation.text_normaliser import NormalText, Word, fold, is_unspaced, normalise
from moderation.verdict import Finding, Ruling, Surface, rule_on

NAME = "rules"

_NUMBER_WORDS = {
    word: value
    for value, words in {
        1: "one eins uno une", 2: "two zwei dos deux", 3: "three drei tres trois", 4: "four vier cuatro quatre",
        5: "five funf cinco cinq", 6: "six sechs seis", 7: "seven sieben siete sept", 8: "eight acht ocho huit",
        9: "nine neun nueve neuf", 10: "ten zehn diez dix", 11: "eleven elf once onze",
        12: "twelve zwolf doce douze", 13: "thirteen dreizehn trece treize",
        14: "fourteen vierzehn catorce quatorze", 15: "fifteen funfzehn quince quinze",
        16: "sixteen sechzehn dieciseis seize",
        17: "seventeen siebzehn diecisiete",
    }.items()
    for word in words.split()
}  # fmt: skip
_YEAR_WORDS = frozenset(
    (
        "yo", "y", "years", "year", "yr", "yrs", "jahre", "jahrige", "jahriger", "jahriges",
        "ans", "anos", "ano", "лет", "года", "год", "yasında", "anni",
    )
)  # fmt: skip
_AGE_WORDS = frozenset(["age", "aged", "turns", "alter", "edad", "возраст"])
_AGE_SUFFIXES = ("yo", "y", "yr", "yrs", "yearold", "jahrige", "jahrigen", "jahriges")
_UNSPACED_AGE_SIGNS = ("歳", "岁", "歲", "살", "才")
_NOT_AN_AGE_AFTER = frozenset(
    (
        "whisky", "whiskey", "wine", "scotch", "rum", "tree", "oak", "building", "house", "car", "dog", "cat",
        "tradition", "ago", "later", "war",
    )
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class _Lexicon:
    """The policy's terms by their first word, so that a text is looked up word by word."""

    phrases: Mapping[str, tuple[tuple[str, tuple[str, ...]], ...]]
    prefixes: Mapping[str, str]
    prefix_lengths: tuple[int, ...]
    unspaced: tuple[tuple[str, str], ...]
    harmless: Mapping[str, tuple[tuple[str, ...], ...]]
    ages: Mapping[str, int]


def judge_prompt(text: str | None, policy: Policy, *, surface: Surface = Surface.PROMPT) -> Ruling:
    """Judge one text. An empty one is allowed.

    On a negative prompt only rules marked `in_negative_prompt` apply: who writes "nudity, gore" there asks for
    neither.
    """
    return judge_texts({surface: text or ""}, policy)


def judge_texts(texts: Mapping[Surface, str], policy: Policy) -> Ruling:
    """Judge all text of one job. What is split over prompt, style and names is read together as well."""
    lexicon = _lexicon(policy)
    findings: list[Finding] = []
    asked_for: list[NormalText] = []
    for surface, text in texts.items():
        normal = normalise(text, ordinary=policy.ordinary_words, unless_beside=policy.not_ordinary_beside)
        is_negative = surface is Surface.NEGATIVE_PROMPT
        findings += _find(normal, policy, lexicon, surface, is_negative)
        if not is_negative:
            asked_for.append(normal)
    if len(asked_for) > 1:
        together = NormalText(
            words=tuple(word for text in asked_for for word in text.words),
            unspaced="".join(text.unspaced for text in asked_for),
        )
        known = {found.detail for found in findings}
        findings += [
            found
            for found in _find(together, policy, lexicon, Surface.PROMPT, False)
            if found.detail not in known
        ]
    return rule_on(findings, policy_version=policy.version, classifier=NAME)


def _find(
    text: NormalText, policy: Policy, lexicon: _Lexicon, surface: Surface, is_negative: bool
) -> list[Finding]:
    places = _places(text, lexicon)
    if not places:
        return []
    return [
        Finding(
            clause=clause.id, score=1.0, threshold=1.0, verdict=rule.verdict, surface=surface, detail=rule.id
        )
        for clause in policy.clauses.values()
        for rule in clause.rules
        if (rule.in_negative_prompt or not is_negative) and _holds(rule, places)
    ]


def _holds(rule: TextRule, places: Mapping[str, list[int]]) -> bool:
    if not all(name in places for name in rule.all_of):
        return False
    if rule.within is None or len(rule.all_of) < 2:
        return True
    anchor, *others = (places[name] for name in rule.all_of)
    return any(
        all(any(abs(place - other) <= rule.within for other in places_of) for places_of in others)
        for place in anchor
    )


def _places(text: NormalText, lexicon: _Lexicon) -> dict[str, list[int]]:
    """Where in the text (by word) each group of terms occurs."""
    words = text.words
    covered = _harmless_words(words, lexicon)
    places: dict[str, list[int]] = {}
    for index, word in enumerate(words):
        if index in covered:
            continue
        for form in word.forms:
            for group, rest in lexicon.phrases.get(form, ()):
                if _follows(words, index + 1, rest):
                    places.setdefault(group, []).append(index)
            for length in lexicon.prefix_lengths:
                if length > len(form):
                    break
                if group_name := lexicon.prefixes.get(form[:length]):
                    places.setdefault(group_name, []).append(index)
        for group, limit in lexicon.ages.items():
            if _states_age(words, index, limit):
                places.setdefault(group, []).append(index)
    for term, group in lexicon.unspaced:
        if term in text.unspaced:
            places.setdefault(group, []).append(0)
    if lexicon.ages and any(sign in text.unspaced for sign in _UNSPACED_AGE_SIGNS):
        for index, word in enumerate(words):
            for group, limit in lexicon.ages.items():
                if any(_unspaced_age(form, limit) for form in word.forms):
                    places.setdefault(group, []).append(index)
    return places


def _harmless_words(words: tuple[Word, ...], lexicon: _Lexicon) -> set[int]:
    covered: set[int] = set()
    for index, word in enumerate(words):
        if word.spelled and any(() in lexicon.harmless.get(form, ()) for form in word.forms):
            covered.add(index)
        for rest in lexicon.harmless.get(word.forms[0], ()):
            if _follows(words, index + 1, rest):
                covered.update(range(index, index + 1 + len(rest)))
    return covered


def _follows(words: tuple[Word, ...], start: int, rest: tuple[str, ...]) -> bool:
    if start + len(rest) > len(words):
        return False
    return all(_matches(words[start + offset], wanted) for offset, wanted in enumerate(rest))


def _matches(word: Word, wanted: str) -> bool:
    if wanted.endswith("*"):
        return any(form.startswith(wanted[:-1]) for form in word.forms)
    return wanted in word.forms


def _states_age(words: tuple[Word, ...], index: int, limit: int) -> bool:
    form = words[index].forms[0]
    digits = 0
    while digits < len(form) and form[digits].isdecimal():
        digits += 1
    if 0 < digits <= 2 and form[digits:] in _AGE_SUFFIXES:
        return int(form[:digits]) < limit
    value = int(form) if digits == len(form) and 0 < digits <= 2 else _NUMBER_WORDS.get(form)
    if value is None or not 0 < value < limit:
        return False
    if index > 0 and words[index - 1].forms[0] in _AGE_WORDS:
        return True
    if index + 1 >= len(words) or words[index + 1].forms[0] not in _YEAR_WORDS:
        return False
    after = [word.forms[0] for word in words[index + 2 : index + 5]]
    if words[index + 1].forms[0] in ("years", "year", "yr", "yrs", "y") and after[:1] != ["old"]:
        return words[index + 1].forms[0] == "y" and after[:1] == ["o"]
    return not _NOT_AN_AGE_AFTER.intersection(after)


def _unspaced_age(form: str, limit: int) -> bool:
    digits = 0
    while digits < len(form) and form[digits].isdecimal():
        digits += 1
    return (
        0 < digits <= 2
        and form[digits : digits + 1] in _UNSPACED_AGE_SIGNS
        and 0 < int(form[:digits]) < limit
    )


@functools.lru_cache(maxsize=8)
def _lexicon(policy: Policy) -> _Lexicon:
    return _build(policy.groups.values(), policy.harmless_phrases)


def _build(groups: Iterable[TermGroup], harmless_phrases: Iterable[str]) -> _Lexicon:
    phrases: dict[str, list[tuple[str, tuple[str, ...]]]] = {}
    prefixes: dict[str, str] = {}
    unspaced: list[tuple[str, str]] = []
    ages: dict[str, int] = {}
    for group in groups:
        if group.ages_under is not None:
            ages[group.name] = group.ages_under
        for term in group.terms:
            folded = _fold_term(term)
            if is_unspaced(folded[0]):
                unspaced.append(("".join(folded), group.name))
            elif len(folded) == 1 and folded[0].endswith("*"):
                prefixes[folded[0][:-1]] = group.name
            else:
                phrases.setdefault(folded[0], []).append((group.name, tuple(folded[1:])))
                run_together = "".join(folded)
                if len(folded) > 1 and len(run_together) >= 8 and not run_together.endswith("*"):
                    phrases.setdefault(run_together, []).append((group.name, ()))
    harmless: dict[str, list[tuple[str, ...]]] = {}
    for phrase in harmless_phrases:
        first, *rest = _fold_term(phrase)
        harmless.setdefault(first, []).append(tuple(rest))
    return _Lexicon(
        phrases={first: tuple(found) for first, found in phrases.items()},
        prefixes=prefixes,
        prefix_lengths=tuple(sorted({len(prefix) for prefix in prefixes})),
        unspaced=tuple(unspaced),
        harmless={first: tuple(found) for first, found in harmless.items()},
        ages=ages,
    )


def _fold_term(term: str) -> list[str]:
    return [fold(part) + ("*" if part.endswith("*") else "") for part in term.replace("-", " ").split()]
