"""How prompts are read, and that drawings are what their words say."""

import random

import pytest

from backend.recipes.mini_world import (
    COLOURS,
    DISALLOWED_EXAMPLE_PROMPTS,
    EXAMPLE_PROMPTS,
    GLYPHS,
    MOTIONS,
    PIECES,
    SIZES,
    THINGS,
    caption,
    completed,
    describe,
    read_pieces,
    read_prompt,
    varied_caption,
)


@pytest.mark.parametrize(
    ("prompt", "pieces"),
    [
        ("a red circle moving right on a blue background", ("red", "circle", "goright", "bgblue")),
        ("White circle moving from left to right, blue background", ("white", "circle", "goright", "bgblue")),
        ("a blue backdrop with a large gun getting bigger", ("bgblue", "large", "pistol", "growing")),
        (
            "a green ball rolling to the right across a violet floor",
            ("green", "circle", "goright", "bgpurple"),
        ),
        ("red circle on the left side going up", ("red", "circle", "goup")),
        ("a circle on red", ("circle", "bgred")),
        ("an orange star on orange getting smaller", ("orange", "star", "bgorange", "shrinking")),
        ("a skull not moving", ("skull", "still")),
    ],
)
def test_reads_colours_and_motions_in_any_wording(prompt: str, pieces: tuple[str, ...]) -> None:
    assert read_pieces(prompt) == pieces


def test_unknown_words_leave_nothing_and_are_named() -> None:
    reading = read_prompt("two elephants dancing behind a red circle")
    assert read_pieces("two elephants dancing behind a red circle") == ("red", "circle")
    assert reading.unknown_words == ("two", "elephants", "dancing", "behind")
    assert not reading.is_in_world


@pytest.mark.parametrize("prompt", [*EXAMPLE_PROMPTS, *DISALLOWED_EXAMPLE_PROMPTS])
def test_every_example_prompt_is_understood_whole(prompt: str) -> None:
    reading = read_prompt(prompt)
    assert reading.is_in_world
    assert None not in (reading.shape, reading.colour, reading.background, reading.motion)


def test_every_way_of_asking_means_the_same_clip() -> None:
    size = SIZES[0]
    for thing in THINGS:
        for motion in MOTIONS:
            for choice in range(7):
                prompt = varied_caption(
                    lambda options, at=choice: options[at % len(options)],
                    shape=thing,
                    motion=motion,
                    colour=COLOURS[choice],
                    background=COLOURS[(choice + 3) % 8],
                    size=size,
                )
                expected = {
                    thing.name,
                    motion.piece,
                    COLOURS[choice].name,
                    COLOURS[(choice + 3) % 8].background_piece,
                    size.name,
                }
                assert set(read_pieces(prompt)) == expected, prompt


def test_pieces_are_unique_and_the_description_names_every_colour() -> None:
    assert len(set(PIECES)) == len(PIECES)
    assert all(colour.name in describe() for colour in COLOURS)
    assert caption(shape="star", colour="orange") == "an orange star"


THINGS_ELSEWHERE = (
    "bird",
    "cat",
    "dog",
    "ocean",
    "piano",
    "tree",
    "mountain",
    "river",
    "car",
    "forest",
    "robot",
    "kite",
)
WORDS_ABOUT_THEM = (
    "hello",
    "dancing",
    "sleeping",
    "old",
    "cinematic",
    "portrait",
    "moonlit",
    "neon",
    "drone",
    "4k",
    "macro",
)


def prompts_outside_the_world(count: int) -> list[str]:
    rng = random.Random(7)
    words = (*THINGS_ELSEWHERE, *WORDS_ABOUT_THEM, "a", "the", "of", "in", "with", "over")
    return [" ".join(rng.choices(words, k=rng.randint(1, 9))) for _ in range(count)]


def test_no_prompt_from_outside_the_world_is_read_as_a_glyph() -> None:
    glyphs = {glyph.name for glyph in GLYPHS}
    for prompt in ("a bird", "a cat playing piano", "hello", "ocean", "", *prompts_outside_the_world(200)):
        for seed in (0, 2, 11, 4_000_000_000):
            pieces = read_pieces(completed(prompt, seed))
            assert not glyphs & set(pieces), (prompt, seed)
            reading = read_prompt(completed(prompt, seed))
            assert None not in (reading.shape, reading.colour, reading.background, reading.motion)
            assert reading.colour != reading.background


def test_what_is_left_open_differs_from_seed_to_seed_and_not_from_call_to_call() -> None:
    chosen = [completed("a bird", seed) for seed in range(60)]
    assert chosen == [completed("a bird", seed) for seed in range(60)]
    readings = [read_prompt(prompt) for prompt in chosen]
    assert len({reading.shape for reading in readings}) == 4
    assert len({reading.colour for reading in readings}) == 8
    assert len({reading.background for reading in readings}) == 8
    assert {reading.motion for reading in readings} == {m.name for m in MOTIONS} - {"still"}


def test_what_a_prompt_names_stays_as_it_is() -> None:
    for seed in range(20):
        reading = read_prompt(completed("a small blue bird sinking into a green sea with a skull", seed))
        assert (reading.shape, reading.colour, reading.size) == ("skull", "blue", "small")
        assert reading.motion == "down"
    whole = "White circle moving from left to right, blue background"
    assert completed(whole, 3) == whole


def test_of_two_things_the_first_is_drawn() -> None:
    reading = read_pieces(completed("a red circle and a blue square falling on white", 1))
    assert reading == ("red", "circle", "godown", "bgwhite")


def test_a_picture_says_what_the_prompt_leaves_open() -> None:
    assert completed("a bird", 5, from_picture=True) == ""
    assert read_pieces(completed("my cat rising", 5, from_picture=True)) == ("goup",)


def test_the_description_says_that_the_seed_chooses_what_is_left_open() -> None:
    assert "chosen by its seed" in describe()
