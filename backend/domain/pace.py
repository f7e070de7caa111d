"""How long work takes here, by what was measured of the newest clips; by the recipe until there are enough. Pure."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean, median

from backend.domain.quantiles import usual_and_late

LATE = 2.5
"""The p90 over the median of a clip's time on a machine of which nothing is known."""

MOST_TIMES = 20.0
"""What a worker says that it takes counts up to so many times what is expected of it."""

_NEWEST = 20
_EXPECTED = 2
_EXPECTED_STEPS = 20
_EXPECTED_SHARE = 0.1
_OWN_FROM = 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class Made:
    """A clip that was made. `step_gpu_s`: the declared work of one step, which tells sizes apart; `gpu_s` that of the
    whole clip, of which `base_gpu_s` is not steps. `steps_s` and `around_s`: seconds that the steps took, and all else
    but loading the model."""

    recipe: str
    gpu_s: float
    base_gpu_s: float
    step_gpu_s: float
    steps_s: float
    around_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Pace:
    """`step`: seconds of a declared GPU-second of steps. `around_s`: seconds of a clip that are not steps, declared as
    `base_gpu_s`. `late`: the p90 of the true over the expected time."""

    step: float = 1.0
    around_s: float = 0.0
    base_gpu_s: float = 0.0
    late: float = LATE

    def seconds(self, gpu_s: float, clips: float = 1.0) -> float:
        """Expected seconds of declared work of so many clips."""
        return max(0.0, self.step * (gpu_s - self.base_gpu_s * clips) + self.around_s * clips)


def step_seconds(said_s: float, expected_s: float, *, own_steps: int, steps: int) -> float:
    """Seconds a step of a run that has done `own_steps` of its `steps`, by what its worker says and what is expected.

    The first steps pay for loading and compiling, and one may be far off: what is expected counts as twenty steps, or
    as a tenth of all, less and less until half of them are done. Means are of logarithms, because paces differ by
    factors. Where nothing is expected (0) the worker alone is heard.
    """
    if expected_s <= 0:
        return said_s
    heard_s = min(max(said_s, expected_s / MOST_TIMES), expected_s * MOST_TIMES)
    fades = max(0.0, 1.0 - own_steps / (_OWN_FROM * max(steps, 1)))
    counts = max(_EXPECTED_STEPS, _EXPECTED_SHARE * steps) * fades
    weight = own_steps / (own_steps + counts) if own_steps else 0.0
    return float(expected_s * (heard_s / expected_s) ** weight)


@dataclass(frozen=True)
class Paces:
    """Paces by recipe and size. `made`: the newest clips first.

    Medians, so that one slow clip sets no pace. What the recipe declares counts as a few clips of that recipe, and the
    recipe's pace as a few clips of each size.
    """

    made: Sequence[Made] = ()
    mix: Pace = field(init=False)
    _recipes: dict[str, Pace] = field(init=False)
    _sizes: dict[tuple[str, float], Pace] = field(init=False)

    def __post_init__(self) -> None:
        recipes: dict[str, list[Made]] = defaultdict(list)
        sizes: dict[tuple[str, float], list[Made]] = defaultdict(list)
        for clip in self.made:
            recipes[clip.recipe].append(clip)
            sizes[_size(clip.recipe, clip.step_gpu_s)].append(clip)
        by_recipe = {
            name: _measured(clips, Pace(around_s=clips[0].base_gpu_s, base_gpu_s=clips[0].base_gpu_s))
            for name, clips in recipes.items()
        }
        by_size = {size: _measured(clips, by_recipe[size[0]]) for size, clips in sizes.items()}
        object.__setattr__(self, "_recipes", by_recipe)
        object.__setattr__(self, "_sizes", by_size)
        object.__setattr__(self, "mix", self._mix())

    def of(self, recipe: str, step_gpu_s: float) -> Pace:
        """The pace of this recipe at the size that has so much work a step."""
        return self._sizes.get(_size(recipe, step_gpu_s)) or self._recipes.get(recipe) or Pace()

    @property
    def ratio(self) -> float:
        """Seconds of a GPU-second of declared work, whatever it is."""
        gpu_s = sum(clip.gpu_s for clip in self.made)
        return self.mix.seconds(gpu_s, len(self.made)) / gpu_s if gpu_s > 0 else 1.0

    def _mix(self) -> Pace:
        """The pace of work of which only the sum is known: that of what was made lately."""
        if not self.made:
            return Pace()
        steps_gpu_s = sum(clip.gpu_s - clip.base_gpu_s for clip in self.made)
        paces = [(clip, self.of(clip.recipe, clip.step_gpu_s)) for clip in self.made]
        steps_s = sum(pace.step * (clip.gpu_s - clip.base_gpu_s) for clip, pace in paces)
        return Pace(
            step=steps_s / steps_gpu_s,
            around_s=fmean(pace.around_s for _clip, pace in paces),
            base_gpu_s=fmean(clip.base_gpu_s for clip in self.made),
        )


def _size(recipe: str, step_gpu_s: float) -> tuple[str, float]:
    return recipe, round(step_gpu_s, 4)


def _measured(clips: Sequence[Made], expected: Pace) -> Pace:
    newest = clips[:_NEWEST]
    steps = [clip.steps_s / (clip.gpu_s - clip.base_gpu_s) for clip in newest]
    pace = Pace(
        step=median([expected.step] * _EXPECTED + steps),
        around_s=median([expected.around_s] * _EXPECTED + [clip.around_s for clip in newest]),
        base_gpu_s=expected.base_gpu_s,
    )
    took = [(clip.steps_s + clip.around_s) / max(pace.seconds(clip.gpu_s), 1e-3) for clip in newest]
    return replace(pace, late=max(1.0, usual_and_late(took, 1.0, LATE)[1]))
