"""A classifier for tests: reads its scores off pure colours in the pixels. Works without torch."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

MAGENTA = (255, 0, 255)
CYAN = (0, 255, 255)


class FakeClassifier:
    """Magenta is graphic violence, cyan a weapon; the score grows with the share of the picture they fill.

    From a fifth of the picture on the score is 1; nothing of it is 0. With `error`, each call raises it.
    """

    name = "fake"
    version = "fake/1"

    def __init__(self, *, error: Exception | None = None) -> None:
        self._error = error

    def score_images(self, images: Sequence[Image.Image]) -> list[dict[str, float]]:
        """Scores by the labels `ordinary`, `magenta` and `cyan`."""
        if self._error is not None:
            raise self._error
        return [self._score(image) for image in images]

    def _score(self, image: Image.Image) -> dict[str, float]:
        pixels = np.asarray(image.convert("RGB"), dtype=np.int16)
        magenta = min(1.0, 5 * _share(pixels, MAGENTA))
        cyan = min(1.0 - magenta, 5 * _share(pixels, CYAN))
        return {"ordinary": 1.0 - magenta - cyan, "magenta": magenta, "cyan": cyan}


def _share(pixels: "np.ndarray[tuple[int, ...], np.dtype[np.int16]]", colour: tuple[int, int, int]) -> float:
    near = np.abs(pixels - np.array(colour, dtype=np.int16)).max(axis=2) < 48
    return float(near.mean())
