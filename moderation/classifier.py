"""What an image classifier is: it gives each image a score for every label it was asked about."""

from collections.abc import Sequence
from typing import Protocol

from PIL import Image


class Classifier(Protocol):
    """Scores images. `name` is its entry in the policy; `version` changes whenever its scores may."""

    @property
    def name(self) -> str:
        """Under which name the policy holds its prompts and thresholds."""
        ...

    @property
    def version(self) -> str:
        """Which weights and prompts gave the scores."""
        ...

    def score_images(self, images: Sequence[Image.Image]) -> list[dict[str, float]]:
        """For each image, a score in [0, 1] by label of the policy's concepts; the labels sum to 1.

        Deterministic, independent of what else is in the batch, and in the order of the images.
        """
        ...
