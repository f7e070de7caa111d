"""Which Latin letters a word of other letters was drawn with: by Unicode's names, and by the shapes of other alphabets.

The shapes follow the confusables of Unicode's security mechanisms (UTS 39), letter by letter and casefolded; what
nobody would take for a Latin letter is left out.
"""

import functools
import unicodedata
from collections import Counter
from collections.abc import Iterable


def _table(sources: str, letters: str) -> dict[str, str]:
    return dict(zip(sources, letters, strict=True))


_SHAPES = {
    **_table("аеорсухіѕјԁһкмтвнпгԛԝґьӏүѵєцш", "aeopcyxisjdhkmtbhnrqwrblyveuw"),
    **_table("αοερντυικσχβηγωμϙ", "aoepvtuikcxbnywuq"),
    **_table("ոսօցհզռլտյքւ", "nuoghqnlsjfi"),
    **_table("ꓮꓐꓚꓓꓰꓝꓖꓧꓲꓙꓗꓡꓟꓠꓳꓑꓣꓢꓔꓴꓦꓪꓫꓬꓜ", "abcdefghijklmnoprstuvwxyz"),
    **_table("ᎪᏴᏟᎠᎬᏀᎶᎻᎥᎫᏦᏞᎷᏢᎡᏒᏚᎢᏌᏙᎳᎽᏃ", "abcdegghijklmprrstuvwyz"),
    **_table("ⲃⲉⲏⲓⲕⲙⲛⲟⲣⲥⲧⲩⲭⲍ", "behikmnopctyxz"),
    **_table("סוןחטاهⵔዐ", "oilnulooo"),
    **_table("ᗩᗅᗷᖯᑲᑕᙅᗪᗞᗬᕲᑯᗴᗱᕮᙓᖴᘜᕼᒍᛕᒪᗰᗑᘻᙏᑎᗝᐤᑭᑫᖇᔕᑌᐯᗯᘺᙎᕽᕁᘔ", "aabbbccdddddeeeefghjklmmmmnoopqrsuvwwwxxz"),
    **_table("ɑɩʊʉŋðʃʒ", "aiuundsz"),
}
_OTHERWISE = _SHAPES | _table("νημυнвсуибдзлфяэ", "nhmynvsunbdzlfre")
"""The same with what a letter's capital looks like, or what it sounds like, where that is another letter."""
_CYRILLIC = str.maketrans("aeopcyxkmtbhi", "аеорсухкмтвні")


@functools.lru_cache(maxsize=4096)
def script_of(character: str) -> str:
    """The first word of a character's name, which for letters and marks is their script; empty without a name."""
    return unicodedata.name(character, "").partition(" ")[0]


@functools.lru_cache(maxsize=4096)
def latin_letter(character: str) -> str:
    """The Latin letter that a character is a variant of (small capital, with a stroke, in a circle), or nothing."""
    name = unicodedata.name(character, "").partition(" WITH ")[0].split()
    is_one = len(name) > 2 and len(name[-1]) == 1 and ("LATIN" in name or name[0] == "REGIONAL")
    return name[-1].lower() if is_one else ""


def written_scripts(words: Iterable[str]) -> frozenset[str]:
    """The scripts that a text is truly written in: more words of only their letters, one of them without a
    look-alike, than words in Latin letters.
    """
    written = Counter[str]()
    for word in words:
        scripts = {script_of(character) for character in word if character.isalpha()}
        if len(scripts) == 1 and any(c.isalpha() and c not in _SHAPES for c in word):
            written.update(scripts)
    return frozenset(script for script in written if written[script] > written["LATIN"])


def disguised(word: str, written: frozenset[str]) -> list[str]:
    """What a casefolded word with other letters than a-z says to whoever reads them as the letters they look like.

    A word of one script is read so only where that script isn't `written` in its text: it is a word of its own.
    """
    scripts = {script_of(character) for character in word if character.isalpha()}
    if len(scripts) == 1 and scripts <= written:
        return []
    tables = (_SHAPES, _OTHERWISE) if len(scripts) > 1 else (_SHAPES,)
    read = ["".join(table.get(c) or latin_letter(c) or c for c in word) for table in tables]
    found = [reading for reading in read if reading.isascii()]
    if scripts == {"LATIN", "CYRILLIC"}:
        found.append(word.translate(_CYRILLIC))
    return found
