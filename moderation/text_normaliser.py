"""Turns what people write into words that rules can match: one pass, no backtracking, bounded by the text's length.

Undoes compatibility forms, zero-width and combining characters, look-alikes from other alphabets, digits for
letters, letters spelled out one by one, and letters drawn out. A word keeps all its plausible readings.
"""

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

MAX_CHARS = 20_000
"""Longer texts are cut here; the API refuses them long before."""

_LOOKALIKES = str.maketrans(
    "аеорсухіѕјԁһкмтвнпгԛԝґαοερντυιϲκχβηγωɡɩıłøđ",
    "aeopcyxisjdhkmtbhnrqwraoepvtuickxbnywgiilod",
)
_LEET = str.maketrans("0134578@$!|€+", "oieastbasilet")
_LEET_AS_L = str.maketrans({"1": "l", "!": "l"})
_INNER_SIGNS = frozenset("@$!|€+*'’")
_EMOJI = {
    "🍆": "penis", "🍑": "buttocks", "💦": "wet", "🔫": "gun", "🔪": "knife", "💣": "bomb", "🧒": "child",
    "👧": "little girl", "👦": "little boy", "👶": "baby", "🔞": "nsfw", "🩸": "blood",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Word:
    """One word of a text and the ways it can be read, as written first."""

    forms: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class NormalText:
    """A text as words, and as one run of characters for scripts that put no spaces between words."""

    words: tuple[Word, ...]
    unspaced: str


def normalise(text: str) -> NormalText:
    """Read a text. Linear in its length."""
    plain = _plain(text[:MAX_CHARS])
    raw = _split(plain)
    words = [Word(forms=_readings(word)) for word in _with_spelled_out(raw)]
    unspaced = "".join(character for character in plain if _needs_no_spaces(character))
    return NormalText(words=tuple(words), unspaced=unspaced)


def fold(text: str) -> str:
    """How a term of the policy is written before it is compared: the same folding, one reading."""
    return " ".join(_split(_plain(text)))


def is_unspaced(term: str) -> bool:
    """Whether a term is written in a script without spaces between words, and is looked for anywhere."""
    return any(_needs_no_spaces(character) for character in term)


def _plain(text: str) -> str:
    out: list[str] = []
    for character in unicodedata.normalize("NFKC", text):
        if character in _EMOJI:
            out.append(f" {_EMOJI[character]} ")
            continue
        if character.isascii():
            out.append(character)
            continue
        category = unicodedata.category(character)
        if category in ("Cf", "Cc", "Me") or "\ufe00" <= character <= "\ufe0f":
            continue
        for part in unicodedata.normalize("NFD", character) if _is_latinish(character) else character:
            if not "\u0300" <= part <= "\u036f" or character in "йЙ":
                out.append(part)
    return unicodedata.normalize("NFC", "".join(out)).casefold().replace("ё", "е")


def _is_latinish(character: str) -> bool:
    return character < "\u0590" or "\u1e00" <= character < "\u2000"


def _needs_no_spaces(character: str) -> bool:
    return (
        "\u3040" <= character <= "\u30ff"
        or "\u3400" <= character <= "\u9fff"
        or "\uac00" <= character <= "\ud7a3"
        or "\u0e00" <= character <= "\u0e7f"
    )


def _split(plain: str) -> list[str]:
    """Words: letters and digits, with signs that stand for letters kept inside a word."""
    words: list[str] = []
    current: list[str] = []
    for character in plain:
        if character.isalnum() or character in _INNER_SIGNS or unicodedata.category(character)[0] == "M":
            current.append(character)
        elif current:
            words.append("".join(current))
            current = []
    if current:
        words.append("".join(current))
    stripped = (word.strip("!'’*+|") or word for word in words)
    return [word for word in stripped if any(character.isalnum() for character in word)]


def _with_spelled_out(words: list[str]) -> Iterable[str]:
    """The words, and after each run of three or more single letters (`n u d e`, `n.u.d.e`) what it spells."""
    run: list[str] = []
    for word in words:
        if len(word) > 1:
            if len(run) >= 3:
                yield "".join(run)
            run = []
        else:
            run.append(word)
        yield word
    if len(run) >= 3:
        yield "".join(run)


def _readings(word: str) -> tuple[str, ...]:
    if len(word) > 60:
        word = word[:60]
    if word.isascii() and word.isalpha():
        readings = [word]
    else:
        bare = word.replace("'", "").replace("’", "")
        readings = [bare, bare.removesuffix("s") if bare != word and bare.endswith("s") else bare]
        latin = bare.translate(_LOOKALIKES)
        if latin.isascii():
            readings.append(latin)
        if not latin.isdigit():
            for reading in (latin, bare):
                readings.append(reading.translate(_LEET_AS_L).translate(_LEET).replace("*", ""))
                readings.append(reading.translate(_LEET).replace("*", ""))
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
