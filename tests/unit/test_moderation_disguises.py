"""Words in disguise get the plain word's verdict, and other alphabets stay what they are."""

import time

import pytest

from moderation.policy import default_policy
from moderation.prompt_rules import judge_prompt
from moderation.verdict import Verdict

POLICY = default_policy()


def verdict_on(text: str) -> tuple[Verdict, str | None]:
    ruling = judge_prompt(text, POLICY)
    return ruling.verdict, ruling.clause


HIDDEN = (
    *"\u00ad\u034f\u061c\u0085\u115f\u1160\u17b4\u17b5\u180b\u200b\u200d\u2060\u2065\u2800\u3164\ufe0f\uffa0",
    *("\ufff0", "\U000e0001", "\U000e0041", "\U000e0100", "\U000e01ef"),
)
MARKS = "\u0301\u0483\u05b7\u064e\u0941\u0e31\u1ab0\u1dc0\u20d2\u20dd\u3099\ufe20"


@pytest.mark.parametrize("hidden", HIDDEN, ids=ascii)
def test_what_shows_nothing_hides_nothing(hidden: str) -> None:
    assert verdict_on(f"a nu{hidden}de woman") == (Verdict.REVIEW, "sexual_content")


@pytest.mark.parametrize("gap", ["\u2800", "\u3164", "\u200b", "\u0085"], ids=ascii)
def test_a_blank_between_words_parts_them(gap: str) -> None:
    assert verdict_on(f"a{gap}nude{gap}woman") == (Verdict.REVIEW, "sexual_content")
    assert verdict_on(f"a{gap}naked{gap}little{gap}girl") == (Verdict.BLOCK, "csae")


@pytest.mark.parametrize("mark", MARKS, ids=ascii)
def test_marks_of_other_scripts_change_no_letter(mark: str) -> None:
    word = "".join(letter + mark for letter in "nude")
    assert verdict_on(f"a {word} woman") == (Verdict.REVIEW, "sexual_content")


@pytest.mark.parametrize(
    "spelled",
    ["a n.u.d.e woman", "a n u d e woman", "a n_u_d_e woman", "n u d e a woman", "a n-u-d-e", "a n u d e y"],
)
def test_a_word_of_one_letter_beside_a_spelled_out_word_hides_nothing(spelled: str) -> None:
    assert verdict_on(spelled) == (Verdict.REVIEW, "sexual_content")


@pytest.mark.parametrize(
    "word",
    [
        *("ɴᴜᴅᴇ", "ɳʉđɇ", "ṅüḋë", "nudɛ", "ⓝⓤⓓⓔ", "⒩⒰⒟⒠", "🅝🅤🅓🅔", "🄽🅄🄳🄴", "n🆄de", "🇳🇺🇩🇪", "n🇺de"),
        *("ոսde", "ոսԁе", "ꓠꓴꓓꓰ", "nuᎠᎬ", "nuꭰꭼ", "nudε", "νude", "νudε", "ΝUDΕ", "иude", "пude", "nuⅾe"),
        *("nude2", "2nude", "nude2024", "nude²", "nude②", "nude™", "nude🇺🇸", "🇺🇸nude"),
        *("nude|woman", "nude+woman", "nude@", "n+u+d+e", "n*u*d*e", "n@u@d@e"),
    ],
)
def test_a_disguised_word_gets_the_verdict_of_the_plain_one(word: str) -> None:
    assert verdict_on(f"a {word} woman") == verdict_on("a nude woman") == (Verdict.REVIEW, "sexual_content")


@pytest.mark.parametrize(
    "text", ["ѕех", "a ѕех scene", "a ѕех scene, ждём", "пoрно", "cекc", "جِنْس", "a s e x scene"]
)
def test_a_disguised_word_is_blocked_where_the_plain_one_is(text: str) -> None:
    assert verdict_on(text) == (Verdict.BLOCK, "sexual_content")


@pytest.mark.parametrize(
    "text",
    [
        "мышь сидит на репе",
        "сосна у реки, автор — кот и мост в тумане",
        "смотри: кот, cinematic shot, 4k",
        "3D-печать и USB-кабель на столе",
        "ΝΕΑ ΜΕΡΑ ΣΤΗΝ ΑΘΗΝΑ",
        "η γάτα κοιμάται πάνω στο τραπέζι",
        "το βουνό το πρωί, ένα κορίτσι κοιτάζει τη θάλασσα",
        "a street sign that says ΚΑΤΩ in Athens",
        "Կատուն քնում է սեղանի վրա",
        "արեւը մայր է մտնում ծովում, սուրճ",
        "ᎠᏂᏴᏫᏯ ᎠᎹ ᏣᎳᎩ ᎦᏬᏂᎯᏍᏗ",
        "ꓡꓲ-ꓢꓴ ꓔꓳꓹ ꓥꓪꓲ",
        "ⲁⲛⲟⲕ ⲡⲉ ⲡⲟⲩⲟⲉⲓⲛ",
        "חתול ישן על השולחן",
        "חָתוּל יָשֵׁן עַל הַשֻּׁלְחָן",
        "القطة تنام على الطاولة",
        "الْقِطَّةُ تَنَامُ عَلَى الطَّاوِلَةِ",
        "แมวนอนหลับอยู่บนโต๊ะ",
        "พระอาทิตย์ตกที่ทะเล น้ำนิ่ง",
        "बिल्ली मेज़ पर सो रही है",
        "पेड़ पर एक नाग",
        "தமிழ் கோயில்",
        "ខ្មែរ\u200bអង្គរ\u200bវត្ត",
        "鳥が空を飛ぶ、Tシャツの猫",
        "고양이가 탁자 위에서 잔다",
        "cây cầu ở Hội An, Đà Nẵng về đêm",
        "Bizə görə gözəl bir dəniz",
        "naïve café, jalapeño, Łódź, Þingvellir, Straße, smørrebrød",
        "Es\u00adsex and Sus\u00adsex hills",
        "flags 🇺🇸 🇩🇪 🇫🇷 🇯🇵 and 🇧🇷🇨🇦🇮🇹 in the wind",
        "a type 🅰 blood bag, an Ⓜ sign, a box with ™ and ®",
        "a 5 μm particle, α-helix and β-sheet",
        "Q W E R T Y keys, A B C D E F G on wooden blocks, x y z axes",
        "J. R. R. Tolkien, U.S.S.R. maps, I. M. Pei's pyramid at 5 p.m.",
        "R2D2, mp4, h264, 24fps, ISO 200, an AK47 drawing",
        "AT&T tower, $5 bill, €20 note, 50+ birds, c@fe l@tte",
        "rock'n'roll, don't stop",
    ],
)
def test_other_alphabets_and_signs_stay_what_they_are(text: str) -> None:
    assert verdict_on(text) == (Verdict.ALLOW, None)


@pytest.mark.parametrize(
    "text",
    [
        "a\u2800" * 5000,
        "νudε2@x " * 1250,
        "🇳" * 10_000,
        "n\u20d2" * 5000,
        "ab|" * 3333,
        "ﷺ" * 10_000,
        "ν_ab" * 2500,
        "göre_" * 2000,
        "\ue000a" * 5000,
    ],
)
def test_the_longest_disguise_is_read_in_bounded_time(text: str) -> None:
    began = time.process_time()
    judge_prompt(text[:10_000], POLICY)
    assert time.process_time() - began < 2.0


@pytest.mark.parametrize(
    "spelled",
    ["a b n u d e woman", "n u d e a b woman", "x y n.u.d.e x y", "o k n u d e a woman", "a b n-u-d-e"],
)
def test_two_letters_beside_a_spelled_out_word_hide_nothing(spelled: str) -> None:
    assert verdict_on(spelled) == (Verdict.REVIEW, "sexual_content")


@pytest.mark.parametrize(
    "hidden", ["\ue000", "\ue123", "\uf8ff", "\U000f0000", "\U0010fffd", "\uffff"], ids=ascii
)
def test_private_characters_hide_nothing(hidden: str) -> None:
    assert verdict_on(f"a nu{hidden}de woman") == (Verdict.REVIEW, "sexual_content")
    assert verdict_on(f"a {hidden.join('nude')} woman") == (Verdict.REVIEW, "sexual_content")
    assert verdict_on(f"a{hidden}nude{hidden}woman") == (Verdict.REVIEW, "sexual_content")


@pytest.mark.parametrize("word", ["ᑎᑌᗪᕮ", "ᑎᑌᗪE", "nuᗪe", "ᑎᑌᑯᗴ"])
def test_canadian_syllabics_are_read_as_the_letters_they_look_like(word: str) -> None:
    assert verdict_on(f"a {word} woman") == (Verdict.REVIEW, "sexual_content")
    assert verdict_on("ᔕᕮ᙭") == (Verdict.BLOCK, "sexual_content")


@pytest.mark.parametrize("sign", [*'_-.~=^:;,/\\"#%&()[]·•❤…—', "__", "-_-"])
def test_a_sign_inside_a_word_hides_nothing(sign: str) -> None:
    assert verdict_on(f"a nu{sign}de woman") == (Verdict.REVIEW, "sexual_content")
    assert verdict_on(f"a{sign}n{sign}ude{sign}woman") == (Verdict.REVIEW, "sexual_content")
    assert verdict_on(f"na{sign}ked lit{sign}tle gi{sign}rl") == (Verdict.BLOCK, "csae")
    assert verdict_on(f"a naked{sign}child{sign}photo") == (Verdict.BLOCK, "csae")


@pytest.mark.parametrize(
    "word", ["göre", "GÖRE", "go\u0308re", "gøre", "górę", "râpé", "cụm", "nửa", "pěně", "cono"]
)
def test_an_ordinary_word_of_another_language_is_read_with_its_accents(word: str) -> None:
    assert verdict_on(f"{word} çok güzel") == (Verdict.ALLOW, None)


@pytest.mark.parametrize(
    "text",
    [
        "the göre on the wall",
        "göre and blood",
        "a gøre scene",
        "görë",
        "gore",
        "g\u00f3re",
        "göre gore",
        "coño",
    ],
)
def test_accents_excuse_no_word_in_an_english_text_nor_any_other_spelling(text: str) -> None:
    assert verdict_on(text)[0] is Verdict.BLOCK


@pytest.mark.parametrize(
    "text",
    [
        "the red pen, is it here",
        "G R A P E S on a sign",
        "a sign: O P E N E D",
        "E S S E X",
        "A/B, x_y, U.S.S.R.",
    ],
)
def test_a_word_with_another_one_inside_passes_when_it_is_spelled_out(text: str) -> None:
    assert verdict_on(text) == (Verdict.ALLOW, None)


def test_a_plain_word_beside_one_that_is_excused_is_still_found() -> None:
    assert verdict_on("g r a p e, and a rape scene") == (Verdict.BLOCK, "sexual_content")


@pytest.mark.parametrize("mark", MARKS, ids=ascii)
def test_a_text_may_begin_with_a_mark(mark: str) -> None:
    assert verdict_on(f"{mark} nude") == (Verdict.REVIEW, "sexual_content")
