"""Turns what people write into words that rules can match: one pass, no backtracking, bounded by the text's length.

Undoes compatibility forms, zero-width and combining characters, look-alikes from other alphabets, digits for
letters, letters spelled out one by one, words in pieces, letters drawn out. A word keeps all its plausible readings.
"""

import unicodedata
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from itertools import groupby

from moderation.lookalikes import disguised, latin_letter, script_of, written_scripts

MAX_CHARS = 20_000
"""Longer texts are cut here; the API refuses them long before."""

_BLANK = "\u200b"
"""Stands for everything that shows nothing or a gap, and may part two words or be hidden in one."""
_BLANKS = frozenset("\u0085\u115f\u1160\u200b\u2800")
_SEAM = "\ue000"
"""Between a letter and a sign that reads as a letter (a letter in a circle, a flag, a trade mark)."""
_NOT_WRITTEN = frozenset(("Co", "Cn"))
"""Categories of private-use and unassigned characters: a box or nothing, to whoever reads them."""
_OPTIONAL_POINTS = frozenset(("ARABIC", "HEBREW"))
_DIGITS = "0123456789"
_LEET = str.maketrans("0134578@$!|€+", "oieastbasilet")
_LEET_AS_L = str.maketrans({"1": "l", "!": "l"})
_PARTING_SIGNS = str.maketrans(dict.fromkeys("@$!|€+*" + _SEAM, " "))
_INNER_SIGNS = frozenset("@$!|€+*'’" + _SEAM)
_SIGNS = {"᙭": "x"}
"""Signs that are no letters by their category, and look like one."""
_MAX_PIECES = 4
"""From so many pieces a word is put together again."""
_STAND_IN = "word"
_EMOJI = {
    "🍆": "penis", "🍑": "buttocks", "💦": "wet", "🔫": "gun", "🔪": "knife", "💣": "bomb", "🧒": "child",
    "👧": "little girl", "👦": "little boy", "👶": "baby", "🔞": "nsfw", "🩸": "blood",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Word:
    """One word of a text and the ways it can be read, as written first; of one `spelled` out, the longest first."""

    forms: tuple[str, ...]
    spelled: bool = False


@dataclass(frozen=True, kw_only=True)
class NormalText:
    """A text as words, and as one run of characters for scripts that put no spaces between words."""

    words: tuple[Word, ...]
    unspaced: str


def normalise(
    text: str, *, ordinary: Collection[str] = frozenset(), unless_beside: Collection[str] = frozenset()
) -> NormalText:
    """Read a text. Linear in its length.

    Words in `ordinary` (casefolded, with their accents) are taken for what they are where none of `unless_beside` is in
    the text: their accents are not undone, and they match no term.
    """
    plain = _plain(_set_aside(text[:MAX_CHARS], ordinary, unless_beside))
    raw = _split(plain)
    written = written_scripts(part for parts in raw for part in parts)
    unspaced = "".join(character for character in plain if _needs_no_spaces(character))
    return NormalText(words=tuple(_words(raw, written)), unspaced=unspaced)


def fold(text: str) -> str:
    """How a term of the policy is written before it is compared: the same folding, one reading."""
    return " ".join(part for parts in _split(_plain(text)) for part in parts)


def as_written(word: str) -> str:
    """A word casefolded, with its accents."""
    return unicodedata.normalize("NFC", word).casefold()


def is_unspaced(term: str) -> bool:
    """Whether a term is written in a script without spaces between words, and is looked for anywhere."""
    return any(_needs_no_spaces(character) for character in term)


def _set_aside(text: str, ordinary: Collection[str], unless_beside: Collection[str]) -> str:
    pieces = ["".join(piece) for _, piece in groupby(text, key=_is_of_a_word)]
    written = [as_written(piece) for piece in pieces]
    if not any(word in ordinary for word in written) or any(word in unless_beside for word in written):
        return text
    return "".join(
        _STAND_IN if word in ordinary else piece for piece, word in zip(pieces, written, strict=True)
    )


def _is_of_a_word(character: str) -> bool:
    return character.isalpha() or unicodedata.category(character)[0] == "M"


def _plain(text: str) -> str:
    out: list[str] = []
    letter = " "
    for character in unicodedata.normalize("NFKC", _open_signs(text)):
        if character in _EMOJI:
            out.append(f" {_EMOJI[character]} ")
        elif character.isascii():
            out.append(character)
            letter = character
        elif character in _BLANKS:
            out.append(_BLANK)
        elif unicodedata.category(character) not in ("Cf", "Cc"):
            whole = character in "йЙ" or not _is_latinish(character)
            for part in character if whole else unicodedata.normalize("NFD", character):
                if unicodedata.category(part)[0] != "M":
                    letter = part
                elif not _belongs(part, letter):
                    continue
                out.append(part)
    return unicodedata.normalize("NFC", "".join(out)).casefold().replace("ё", "е")


def _open_signs(text: str) -> str:
    """Put letters in place of signs that hold some (🅝, 🇳, ⒩, ™), with a seam to the letters beside them."""
    out: list[str] = []
    for character in text:
        letters = ""
        category = "" if character.isascii() else unicodedata.category(character)
        if category == "So":
            letters = (
                _SIGNS.get(character) or latin_letter(character) or unicodedata.normalize("NFKC", character)
            )
        is_sign = letters.isascii() and letters.isalpha()
        shown = _BLANK if category in _NOT_WRITTEN else character
        out.append(f"{_SEAM}{letters}{_SEAM}" if is_sign else shown)
    return "".join(out).replace(_SEAM * 2, "")


def _belongs(mark: str, letter: str) -> bool:
    """Whether a mark is part of how its letter is written. Vowel points in Arabic and Hebrew may be left out."""
    script = script_of(mark)
    return script == script_of(letter) and script not in _OPTIONAL_POINTS


def _is_latinish(character: str) -> bool:
    return character < "\u0590" or "\u1e00" <= character < "\u2000"


def _needs_no_spaces(character: str) -> bool:
    return (
        "\u3040" <= character <= "\u30ff"
        or "\u3400" <= character <= "\u9fff"
        or "\uac00" <= character <= "\ud7a3"
        or "\u0e00" <= character <= "\u0e7f"
    )


def _split(plain: str) -> list[list[str]]:
    """Words: letters and digits, with signs that stand for letters kept inside; each in its pieces, which blanks and
    punctuation make. White space ends a word.
    """
    words: list[list[str]] = []
    parts: list[str] = []
    current: list[str] = []
    for character in f"{plain} ":
        if character.isalnum() or character in _INNER_SIGNS or unicodedata.category(character)[0] == "M":
            current.append(character)
            continue
        part = "".join(current).strip("!'’*+|" + _SEAM)
        current = []
        if any(character.isalnum() for character in part):
            parts.append(part)
        if character.isspace() and parts:
            words.append(parts)
            parts = []
    return words


def _words(raw: Iterable[list[str]], written: frozenset[str]) -> Iterable[Word]:
    """The words, and after each run of three or more single letters (`n u d e`, `n.u.d.e`) what it spells.

    A word in pieces (`nu_de`) is each of them, and the first and the last of some in a row are also what these make.
    """
    run: list[str] = []
    for parts in raw:
        joined = _joined(parts, written)
        for part, more in zip(parts, joined, strict=True):
            if len(part) > 1:
                yield from _spelled_out(run, written)
                run = []
            else:
                run.append(part)
            yield Word(forms=(*_readings(part, written), *more))
    yield from _spelled_out(run, written)


def _joined(parts: list[str], written: frozenset[str]) -> list[list[str]]:
    """For each piece of a word, what the rows of pieces say that begin or end with it. Lone letters are spelled out."""
    found: list[list[str]] = [[] for _ in parts]
    rows = [
        (start, end)
        for start in range(len(parts) - 1)
        for end in range(start + 2, min(start + _MAX_PIECES, len(parts)) + 1)
        if any(len(part) > 1 for part in parts[start:end])
    ]
    if len(parts) > _MAX_PIECES:
        rows.append((0, len(parts)))
    for start, end in rows:
        readings = _readings("".join(parts[start:end]), written)
        found[start] += readings
        found[end - 1] += readings
    return found


def _spelled_out(run: list[str], written: frozenset[str]) -> Iterable[Word]:
    """What single letters spell: all, or without one or two at either end, which may be words (`a n u d e`).

    Three letters are left only where one was cut: too many words have a short one inside (`E S S E X`).
    """
    if len(run) < 3:
        return
    text = "".join(run)
    cuts = [
        text[start : len(text) - end]
        for start, end in sorted(((i, j) for i in range(3) for j in range(3)), key=sum)
        if len(text) - start - end >= (4 if max(start, end) == 2 else 3)
    ]
    yield Word(
        forms=tuple(dict.fromkeys(form for cut in cuts for form in _readings(cut, written))), spelled=True
    )


def _readings(word: str, written: frozenset[str]) -> tuple[str, ...]:
    word = word[:60]
    if word.isascii() and word.isalpha():
        readings = [word]
    else:
        owned = word.replace("'", "").replace("’", "")
        bare = owned.replace(_SEAM, "")
        readings = [bare, bare.removesuffix("s") if owned != word and bare.endswith("s") else bare]
        for spelling in [bare] if bare.isascii() else [bare, *disguised(bare, written)]:
            readings.append(spelling)
            if len(trimmed := spelling.strip(_DIGITS)) >= 3:
                readings.append(trimmed)
            if not spelling.isdigit():
                readings.append(spelling.translate(_LEET_AS_L).translate(_LEET).replace("*", ""))
                readings.append(spelling.translate(_LEET).replace("*", ""))
        parts = word.translate(_PARTING_SIGNS).split()
        if parts != [word]:
            readings += [
                "".join(parts),
                *(form for part in parts if len(part) >= 3 for form in _readings(part, written)),
            ]
    drawn_out = [reading for reading in readings if _drawn_out(reading)]
    readings += [_shorten(reading, keep) for reading in drawn_out for keep in (1, 2)]
    return tuple(dict.fromkeys(reading for reading in readings if reading))


def _drawn_out(word: str) -> bool:
    return any(word[i] == word[i + 1] == word[i + 2] for i in range(len(word) - 2))


def _shorten(word: str, keep: int) -> str:
    """Runs of three or more equal letters become `keep` of them."""
    out: list[str] = []
    start = 0
    for index in range(1, len(word) + 1):
        if index == len(word) or word[index] != word[start]:
            length = index - start
            out.append(word[start] * (keep if length >= 3 else length))
            start = index
    return "".join(out)
