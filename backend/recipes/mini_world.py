"""The one small world of the mini models: what can be drawn, how prompts name it, how words are read.

Pure data and the standard library. The trainer, the gate, the tokenizer, the documentation and the UI all
read this module, so that a word the UI promises is a word the model was trained on.
"""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

CANVAS_UNITS: Final = 64.0
"""Places and radii are given on a canvas of 64 x 64 units, at whatever pixel size a clip is drawn."""
FRAME_PX: Final = 288
NUM_FRAMES: Final = 17
FPS: Final = 8
MAX_TOKENS: Final = 12
"""Length of the encoded prompt: at most one piece each for colour, size, shape, motion, background."""


@dataclass(frozen=True, kw_only=True)
class Colour:
    """A colour of shapes and backgrounds; `words` are the ways to say it, its name first."""

    name: str
    rgb: tuple[int, int, int]
    words: tuple[str, ...]

    @property
    def background_piece(self) -> str:
        """The tokenizer's piece for this colour as a background."""
        return f"bg{self.name}"


@dataclass(frozen=True, kw_only=True)
class Thing:
    """Something that can be drawn. `words` are the ways to say it, the usual one first."""

    name: str
    words: tuple[str, ...]
    is_glyph: bool = False


@dataclass(frozen=True, kw_only=True)
class Motion:
    """What the shape does. `phrases` are used in captions; `patterns` say what else is read as this motion."""

    name: str
    piece: str
    phrases: tuple[str, ...]
    patterns: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Size:
    """A size a prompt may ask for, as a range of radii in canvas units."""

    name: str
    words: tuple[str, ...]
    radius_range: tuple[float, float]


COLOURS: Final = (
    Colour(name="red", rgb=(230, 30, 30), words=("red", "scarlet", "crimson")),
    Colour(name="green", rgb=(30, 165, 60), words=("green",)),
    Colour(name="blue", rgb=(40, 80, 230), words=("blue",)),
    Colour(name="yellow", rgb=(250, 220, 40), words=("yellow", "golden")),
    Colour(name="purple", rgb=(140, 50, 190), words=("purple", "violet")),
    Colour(name="orange", rgb=(250, 130, 20), words=("orange",)),
    Colour(name="white", rgb=(250, 250, 250), words=("white",)),
    Colour(name="black", rgb=(12, 12, 16), words=("black",)),
)

SHAPES: Final = (
    Thing(name="circle", words=("circle", "ball", "disc", "disk", "dot")),
    Thing(name="square", words=("square", "box", "block")),
    Thing(name="triangle", words=("triangle", "pyramid")),
    Thing(name="star", words=("star",)),
)

GLYPHS: Final = (
    Thing(name="skull", words=("skull",), is_glyph=True),
    Thing(name="pistol", words=("pistol", "handgun", "revolver", "gun"), is_glyph=True),
    Thing(name="knife", words=("knife", "dagger"), is_glyph=True),
    Thing(
        name="blood",
        words=("blood splatter", "blood splash", "splatter of blood", "bloodstain", "blood"),
        is_glyph=True,
    ),
)
"""Drawn on purpose although the studio's policy disallows them: with them review and block can be shown."""

THINGS: Final = SHAPES + GLYPHS

_GO: Final = (
    "(?:moving|moves|move|going|goes|go|sliding|slides|gliding|glides|drifting|drifts|flying|flies|floating|"
    "floats|rolling|rolls|travelling|traveling|travels|heading|heads|running|runs)"
)

MOTIONS: Final = (
    Motion(
        name="right",
        piece="goright",
        phrases=("moving right", "moving left to right", "moving to the right"),
        patterns=(
            rf"(?:{_GO} )?(?:from )?(?:the )?left to (?:the )?right",
            rf"{_GO} (?:to |towards? )?(?:the )?right(?:wards?)?",
            "(?:to|towards?) the right",
            "rightwards?",
        ),
    ),
    Motion(
        name="left",
        piece="goleft",
        phrases=("moving left", "moving right to left", "moving to the left"),
        patterns=(
            rf"(?:{_GO} )?(?:from )?(?:the )?right to (?:the )?left",
            rf"{_GO} (?:to |towards? )?(?:the )?left(?:wards?)?",
            "(?:to|towards?) the left",
            "leftwards?",
        ),
    ),
    Motion(
        name="up",
        piece="goup",
        phrases=("moving up", "rising", "floating up"),
        patterns=(
            rf"(?:{_GO} )?(?:from )?(?:the )?bottom to (?:the )?top",
            rf"{_GO} (?:up(?:wards?)?|to the top)",
            "rising(?: up)?|rises(?: up)?|ascending|ascends|climbing|climbs|upwards?",
        ),
    ),
    Motion(
        name="down",
        piece="godown",
        phrases=("moving down", "falling", "sinking"),
        patterns=(
            rf"(?:{_GO} )?(?:from )?(?:the )?top to (?:the )?bottom",
            rf"{_GO} (?:down(?:wards?)?|to the bottom)",
            "falling(?: down)?|falls(?: down)?|descending|descends|sinking|sinks|dropping|drops|downwards?",
        ),
    ),
    Motion(
        name="growing",
        piece="growing",
        phrases=("growing", "getting bigger", "expanding"),
        patterns=(
            "(?:getting|gets|becoming|becomes|growing|grows) (?:bigger|larger)",
            "growing|grows|grow|expanding|expands|inflating|inflates|zooming in",
        ),
    ),
    Motion(
        name="shrinking",
        piece="shrinking",
        phrases=("shrinking", "getting smaller", "contracting"),
        patterns=(
            "(?:getting|gets|becoming|becomes|growing|grows) smaller",
            "shrinking|shrinks|shrink|contracting|contracts|deflating|deflates|zooming out",
        ),
    ),
    Motion(
        name="still",
        piece="still",
        phrases=("staying still", "standing still", "at rest"),
        patterns=(
            "(?:staying|stays|standing|stands|holding|holds|sitting|sits|keeping|keeps) still",
            "at rest|not moving|motionless|stationary|static|resting|still",
        ),
    ),
)

SIZES: Final = (
    Size(name="small", words=("small", "tiny", "little"), radius_range=(7.0, 10.0)),
    Size(name="large", words=("large", "big", "huge", "giant"), radius_range=(15.0, 20.0)),
)
ANY_RADIUS: Final = (7.0, 20.0)
"""Radii of moving and still shapes when the prompt names no size."""
GROWING_RADII: Final = ((6.0, 11.0), (17.0, 25.0))
"""Smaller and larger end of a growing or shrinking shape."""
MIN_TRAVEL: Final = 20.0
"""A moving shape goes at least this far in one clip, in canvas units; most go further."""

_THING_NAMES: Final = tuple(thing.name for thing in THINGS)
_COLOUR_NAMES: Final = tuple(colour.name for colour in COLOURS)
_GROUNDS: Final = tuple(colour.background_piece for colour in COLOURS)
_BACKDROP: Final = "(?:background|backdrop|canvas|wall|screen|field|sky|floor|ground)"
_COLOUR_WORDS: Final = "|".join(word for colour in COLOURS for word in colour.words)
_THING_WORDS: Final = "|".join(word for thing in THINGS for word in thing.words)
_ARTICLE: Final = "(?:a |an |the )?(?:plain |solid |flat )?"


def _by_length(words: tuple[str, ...]) -> str:
    return "|".join(sorted(words, key=len, reverse=True))


def _rewrites() -> tuple[tuple[str, str], ...]:
    rules: list[tuple[str, str]] = [(r"[^a-z]+", " ")]
    for colour in COLOURS:
        words = f"(?:{_by_length(colour.words)})"
        rules.append((rf"\b{words} {_BACKDROP}\b", colour.background_piece))
    for colour in COLOURS:
        words = f"(?:{_by_length(colour.words)})"
        rules.append((rf"\bbackground (?:is|in) {words}\b", colour.background_piece))
        not_a_thing = rf"(?! (?:small|large|big|{_THING_WORDS})\b)"
        rules.append(
            (
                rf"\b(?:on|over|against|across|in front of) {_ARTICLE}{words}\b{not_a_thing}",
                colour.background_piece,
            )
        )
    rules.append((r"\b(?:on|at|in) the (?:left|right|top|bottom)(?: side| corner| half)?\b", " "))
    # "from right to left" before "moving right": the first pattern of each motion goes before all others.
    ordered = [(motion, pattern) for motion in MOTIONS for pattern in motion.patterns[:1]]
    ordered += [(motion, pattern) for motion in MOTIONS for pattern in motion.patterns[1:]]
    rules.extend((rf"\b(?:{pattern})\b", motion.piece) for motion, pattern in ordered)
    rules.extend((rf"\b{word}\b", f"go{word}") for word in ("right", "left", "up", "down"))
    rules.extend((rf"\b(?:{_by_length(size.words)})\b", size.name) for size in SIZES)
    rules.extend((rf"\b(?:{_by_length(thing.words)})s?\b", thing.name) for thing in THINGS)
    rules.extend((rf"\b(?:{_by_length(colour.words)})\b", colour.name) for colour in COLOURS)
    rules.append((rf"\b(?!(?:{'|'.join(PIECES)})\b)[a-z]+\b", " "))
    rules.append((" +", " "))
    return tuple(rules)


PIECES: Final = (
    *(colour.name for colour in COLOURS),
    *(colour.background_piece for colour in COLOURS),
    *(thing.name for thing in THINGS),
    *(motion.piece for motion in MOTIONS),
    *(size.name for size in SIZES),
)
"""What a prompt is reduced to. One piece says one thing: "bgblue" is a blue background, "blue" a blue shape."""

REWRITES: Final = _rewrites()
"""Regular expressions applied in order to the lower-cased prompt; the tokenizer carries the same list."""

_COMPILED: Final = tuple((re.compile(pattern), replacement) for pattern, replacement in REWRITES)

_NEUTRAL: Final = (
    "a an the of on in over with and is are to from at it its that which while slowly steadily video clip movie "
    "animation animated showing shows show shape coloured colored plain solid flat simple shot scene there "
    "moving moves move going goes across against front side"
)
_NEUTRAL_WORDS: Final = frozenset(_NEUTRAL.split())


def read_pieces(prompt: str) -> tuple[str, ...]:
    """The pieces that the mini model sees of `prompt`, in order; words it does not know leave nothing."""
    text = prompt.lower()
    for pattern, replacement in _COMPILED:
        text = pattern.sub(replacement, text)
    return tuple(text.split())


@dataclass(frozen=True, kw_only=True)
class PromptReading:
    """What the mini model understands of a prompt; None where the prompt leaves it open."""

    shape: str | None
    colour: str | None
    background: str | None
    motion: str | None
    size: str | None
    known_words: tuple[str, ...]
    unknown_words: tuple[str, ...]

    @property
    def is_in_world(self) -> bool:
        """True when the prompt names a shape the model can draw and no word is lost on it."""
        return self.shape is not None and not self.unknown_words


def read_prompt(prompt: str) -> PromptReading:
    """Say which words of `prompt` the mini model knows and what it makes of them."""
    pieces = read_pieces(prompt)

    def first(of: dict[str, str]) -> str | None:
        return next((of[piece] for piece in pieces if piece in of), None)

    words = tuple(dict.fromkeys(re.findall(r"[a-z]+", prompt.lower())))
    known = tuple(word for word in words if word in VOCABULARY)
    unknown = tuple(word for word in words if word not in VOCABULARY and word not in _NEUTRAL_WORDS)
    return PromptReading(
        shape=first({thing.name: thing.name for thing in THINGS}),
        colour=first({colour.name: colour.name for colour in COLOURS}),
        background=first({colour.background_piece: colour.name for colour in COLOURS}),
        motion=first({motion.piece: motion.name for motion in MOTIONS}),
        size=first({size.name: size.name for size in SIZES}),
        known_words=known,
        unknown_words=unknown,
    )


def completed(prompt: str, seed: int, *, from_picture: bool = False) -> str:
    """`prompt` as the mini model is to read it: one thing, and what the prompt leaves open chosen by the seed.

    Left to itself the model draws anything it knows: "a bird" was a glyph in 18 of 40 clips. What is chosen here is
    always a plain shape, so that a glyph takes a word of its own. `from_picture`: a given picture says what the prompt
    leaves open, and nothing is chosen.
    """
    pieces = read_pieces(prompt)
    groups = (_THING_NAMES, _COLOUR_NAMES, _GROUNDS, tuple(motion.piece for motion in MOTIONS))
    if len(pieces) <= 5 and all(sum(piece in group for piece in pieces) == 1 for group in groups):
        return prompt
    asked = read_prompt(prompt)
    shape, colour, background, motion = asked.shape, asked.colour, asked.background, asked.motion
    if not from_picture:
        shape = shape or _chosen(seed, "shape", tuple(thing.name for thing in SHAPES))
        colour = colour or _chosen(seed, "colour", _COLOUR_NAMES, other_than=background)
        background = background or _chosen(seed, "background", _COLOUR_NAMES, other_than=colour)
        motion = motion or _chosen(seed, "motion", tuple(m.name for m in MOTIONS if m.name != "still"))
    words = {thing.name: thing.words[0] for thing in THINGS}
    phrases = {motion.name: motion.phrases[0] for motion in MOTIONS}
    subject = " ".join(word for word in (asked.size, colour, words[shape] if shape else None) if word)
    action, ground = phrases[motion] if motion else "", f"{background} background" if background else ""
    return ", ".join(part for part in (subject, action, ground) if part)


def _chosen(seed: int, what: str, names: tuple[str, ...], other_than: str | None = None) -> str:
    """One of `names`, the same on every machine; hardly ever another one because of what the prompt names."""
    drawn = hashlib.sha256(f"{seed} {what}".encode()).digest()
    first = int.from_bytes(drawn[:8], "big") % len(names)
    return names[first] if names[first] != other_than else names[(first + 1) % len(names)]


def _vocabulary() -> frozenset[str]:
    phrases = [word for colour in COLOURS for word in colour.words]
    phrases += [word for thing in THINGS for word in thing.words]
    phrases += [f"{word}s" for thing in THINGS for word in thing.words]
    phrases += [word for size in SIZES for word in size.words]
    phrases += [phrase for motion in MOTIONS for phrase in motion.phrases]
    text = " ".join(phrases)
    patterns = " ".join(pattern for motion in MOTIONS for pattern in motion.patterns)
    optional_endings = {"rightwards", "leftwards", "upwards", "downwards", "upward", "downward"}
    words = set(re.findall(r"[a-z]+", text)) | set(re.findall(r"[a-z]{2,}", patterns.replace("wards?", " ")))
    words |= set(re.findall(r"[a-z]{3,}", _BACKDROP)) | optional_endings
    return frozenset(words - _NEUTRAL_WORDS)


VOCABULARY: Final = _vocabulary()
"""Every single word that changes what the mini model draws."""


def article(word: str) -> str:
    """The indefinite article in front of `word`."""
    return "an" if word[:1] in "aeiou" else "a"


def caption(
    *,
    shape: str,
    motion: str | None = None,
    colour: str | None = None,
    background: str | None = None,
    size: str | None = None,
) -> str:
    """The plainest prompt for a clip, as in "a red circle moving right on a blue background".

    `shape` and `motion` are words or phrases; what is None is left out of the sentence.
    """
    subject = " ".join(word for word in (size, colour, shape) if word)
    text = f"{article(subject)} {subject}"
    if motion:
        text += f" {motion}"
    if background:
        text += f" on {article(background)} {background} background"
    return text


Choose = Callable[[tuple[str, ...]], str]


def varied_caption(
    choose: Choose,
    *,
    shape: Thing,
    motion: Motion | None = None,
    colour: Colour | None = None,
    background: Colour | None = None,
    size: Size | None = None,
) -> str:
    """One of the many ways to ask for a clip: synonyms, comma forms, other word orders.

    `choose` picks one of several strings, so that the caller's seed decides.
    """
    shape_word = choose(shape.words)
    subject = " ".join(
        word
        for word in (choose(size.words) if size else "", choose(colour.words) if colour else "", shape_word)
        if word
    )
    action = choose(motion.phrases) if motion else ""
    ground = choose(background.words) if background else ""
    form = choose(("plain", "plain", "plain", "comma", "ground first", "short"))
    if form == "comma":
        return ", ".join(part for part in (subject, action, f"{ground} background" if ground else "") if part)
    if form == "ground first" and ground:
        return " ".join(
            part for part in (f"{ground} background with {article(subject)} {subject}", action) if part
        )
    if form == "short" and ground:
        return " ".join(part for part in (f"{article(subject)} {subject} on {ground}", action) if part)
    return caption(
        shape=shape_word,
        motion=action or None,
        colour=choose(colour.words) if colour else None,
        background=ground or None,
        size=choose(size.words) if size else None,
    )


EXAMPLE_PROMPTS: Final = (
    "a red circle moving right on a blue background",
    "a yellow star growing on a purple background",
    "a white triangle rising on a black background",
    "a large orange square moving left on a green background",
    "a small blue star falling on a white background",
    "a black circle shrinking on a yellow background",
)

DISALLOWED_EXAMPLE_PROMPTS: Final = (
    "a white skull staying still on a black background",
    "a black pistol moving right on a white background",
    "a red blood splatter growing on a white background",
)
"""Prompts whose clips the studio's moderation is there to stop; for demonstrations and tests."""


def describe() -> str:
    """A few sentences for people: what the mini model can draw and what it cannot."""

    def listing(names: tuple[str, ...]) -> str:
        return f"{', '.join(names[:-1])} or {names[-1]}"

    shapes = listing(tuple(thing.words[0] for thing in SHAPES))
    colours = listing(tuple(colour.name for colour in COLOURS))
    motions = listing(tuple(motion.phrases[0] for motion in MOTIONS))
    return (
        f"The mini model knows one small world: a shape ({shapes}) in one colour over a background in another "
        f"({colours}), {motions}. It may be small or large. Example: \u201c{EXAMPLE_PROMPTS[0]}\u201d. "
        "What a prompt leaves open is chosen by its seed, and words it does not know are ignored. "
        "An image can be its first frame. For anything else, connect a larger model."
    )
