"""How prompts are read, and that drawings are what their words say."""

import pytest

from backend.recipes.mini_world import (
    COLOURS,
    DISALLOWED_EXAMPLE_PROMPTS,
    EXAMPLE_PROMPTS,
    MOTIONS,
    PIECES,
    SIZES,
    THINGS,
    caption,
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
