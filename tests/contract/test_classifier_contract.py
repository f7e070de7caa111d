from collections.abc import Callable

import pytest
from PIL import Image, ImageDraw

from moderation.classifier import Classifier
from moderation.clip_classifier import ClipClassifier
from moderation.fake_classifier import FakeClassifier
from moderation.policy import default_policy


@pytest.fixture(scope="module", params=["fake", "clip"])
def classifier(request: pytest.FixtureRequest) -> Classifier:
    makers: dict[str, Callable[[], Classifier]] = {
        "fake": FakeClassifier,
        "clip": lambda: ClipClassifier(default_policy(), threads=1),
    }
    return makers[request.param]()


def pictures() -> list[Image.Image]:
    made = []
    for index in range(40):
        image = Image.new("RGB", (96, 64), (index * 6, 90, 255 - index * 6))
        ImageDraw.Draw(image).ellipse((index, 10, index + 40, 50), fill=(255, 0, 255))
        made.append(image)
    return made


def test_scores_every_image_in_order_for_every_label_of_the_policy(classifier: Classifier) -> None:
    scores = classifier.score_images(pictures())
    labels = [concept.label for concept in default_policy().classifier(classifier.name).concepts]
    assert len(scores) == 40
    assert all(list(score) == labels for score in scores)
    assert all(0 <= value <= 1 for score in scores for value in score.values())
    assert all(sum(score.values()) == pytest.approx(1, abs=1e-3) for score in scores)


def test_the_same_image_scores_the_same_alone_and_in_company(classifier: Classifier) -> None:
    together = classifier.score_images(pictures())
    alone = classifier.score_images([pictures()[7]])[0]
    assert alone == pytest.approx(together[7], abs=1e-4)


def test_no_images_have_no_scores(classifier: Classifier) -> None:
    assert classifier.score_images([]) == []


def test_any_mode_and_size_is_taken(classifier: Classifier) -> None:
    odd = [Image.new("L", (1, 1)), Image.new("RGBA", (700, 3)), Image.new("P", (64, 64))]
    assert len(classifier.score_images(odd)) == 3


def test_the_version_says_what_scored(classifier: Classifier) -> None:
    assert classifier.version.startswith(f"{classifier.name}/")
