"""How the pages say numbers and waits."""

import pytest

from backend.recipes import CATALOGUE
from frontend import wording


@pytest.mark.parametrize(
    ("p50", "p90", "said"),
    [
        (None, None, ""),
        (3.2, 3.9, "about 4 s"),
        (40, 70, "about 40 to 70 s"),
        (40, 130, "about 40 s to 3 min"),
        (0.2, 0.2, "about 1 s"),
        (9000, 9100, "about 3 h"),
    ],
)
def test_a_wait_is_said_as_one_would(p50: float | None, p90: float | None, said: str) -> None:
    assert wording.wait(p50, p90) == said


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (1, "1st"),
        (2, "2nd"),
        (3, "3rd"),
        (11, "11th"),
        (12, "12th"),
        (13, "13th"),
        (21, "21st"),
        (112, "112th"),
    ],
)
def test_places_in_the_queue(number: int, said: str) -> None:
    assert wording.ordinal(number) == said


def test_one_credit_is_singular() -> None:
    assert [wording.credits(n) for n in (1, 12, 1200)] == ["1 credit", "12 credits", "1,200 credits"]


def test_every_recipe_can_be_offered() -> None:
    for recipe in CATALOGUE.values():
        model = wording.model_view(recipe)
        assert model.knows
        assert model.steps_low <= model.steps_default <= model.steps_high
        assert all(6 <= side <= 18 for size in model.sizes for side in (size.frame_w, size.frame_h))
