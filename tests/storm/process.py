"""How the storm starts a process of the studio: other adapters at the ports, then the real main.

`python -m tests.storm.process control|moderator|worker`; the web server loads `tests.storm.process:web`.
"""

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from tests.storm.weather import Station, StormClock, open_storm_storage


class StormClassifier:
    """Knows nothing of pictures: dark ones are blocked, dusky ones go to a person, the rest is allowed.

    Which of them a clip is follows from its bytes, so that a second look says the same. Black is no picture: the
    empty places of a spritesheet.
    """

    name = "fake"
    version = "storm/1"
    BLACK, DARK, DUSKY = 4, 108, 112

    def score_images(self, images: Sequence[Image.Image]) -> list[dict[str, float]]:
        """Scores by the labels of the policy's classifier for tests."""
        return [self._score(float(np.asarray(image.convert("L")).mean())) for image in images]

    def _score(self, light: float) -> dict[str, float]:
        magenta = 0.0
        if self.BLACK < light < self.DUSKY:
            magenta = 1.0 if light < self.DARK else 0.7
        return {"ordinary": 1.0 - magenta, "magenta": magenta, "cyan": 0.0}


def meet_the_weather() -> None:
    """From now on a studio that is opened in this process has the storm's storage and clock."""
    import backend.studio

    station = Station.of_this_process()
    ports: Any = backend.studio
    ports.open_storage = lambda settings: open_storm_storage(settings, station)
    ports.SystemClock = lambda: StormClock(station)


def web() -> Any:
    """The web process's app, as its server asks for it."""
    meet_the_weather()
    from frontend.app import app

    return app()


def main(part: str) -> int:
    """Run a part until a signal, or until the storm."""
    if part == "worker":
        # Has neither storage nor clock of its own: what it writes goes through the relay.
        from gpu_worker.main import main as work

        return work()
    meet_the_weather()
    if part == "control":
        from jobs.control import main as control

        return control()
    import jobs.moderator

    moderator: Any = jobs.moderator
    moderator.load_classifier = lambda _policy, _folder=None: StormClassifier()
    return jobs.moderator.main()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
