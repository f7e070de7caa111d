"""Passes of the engine, one at a time: who is in which, alone or in a batch, and what follows when a batch breaks.

Orders that name one batch find one another here. A batch that breaks costs nobody an attempt: its members go on one by
one, and only who then fails alone has failed.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeAlias, TypeVar

from backend import metrics
from backend.contracts import AttemptPhase
from backend.log import get_logger
from backend.recipes import Recipe
from gpu_worker.attempt import AttemptInterruptedError, AttemptRun
from gpu_worker.engine import Engine, EngineClip, EngineError, Member, Rendered, RenderRequest

log = get_logger(__name__)

T = TypeVar("T")
Shape: TypeAlias = tuple[object, ...]
_BROKEN = "broken"


@dataclass(kw_only=True, eq=False)
class _Seat:
    """One attempt that wants a pass. `became`: its clip or what took it out; `_BROKEN` where the pass gave neither."""

    run: AttemptRun
    request: RenderRequest
    became: asyncio.Future[Rendered | str] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )


class _Batch:
    """Attempts that gather for one pass. `turn`: whose turn it is where they go on one by one."""

    def __init__(self, size: int) -> None:
        self.seats: list[_Seat] = []
        self.begun = asyncio.Event()
        self.full = asyncio.Event()
        self.turn = asyncio.Lock()
        self.left = asyncio.Event()
        self._size = size
        self._arrived = 0

    def join(self, seat: _Seat) -> None:
        self.seats.append(seat)
        self.left.clear()
        self._arrived += 1
        if self._arrived >= self._size:
            self.full.set()

    def leave(self, seat: _Seat) -> None:
        self.seats.remove(seat)
        if not self.seats:
            self.left.set()


class Passes:
    """The engine's one thread, and the line before it."""

    def __init__(self, engine: Engine, *, gather_s: float) -> None:
        self.loading: str | None = None
        self._engine = engine
        self._gather_s = gather_s
        self._gpu = asyncio.Lock()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="engine")
        self._gathering: dict[Shape, _Batch] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def warm_up(self, recipe: Recipe) -> None:
        """Load a recipe in a turn of its own. Raises `EngineError`."""
        async with self._gpu:
            self.loading = recipe.name
            try:
                await self._on_engine(lambda: self._engine.load(recipe))
            finally:
                self.loading = None

    async def render(self, run: AttemptRun, recipe: Recipe, request: RenderRequest) -> EngineClip:
        """The attempt's clip, in its batch or alone. Raises `AttemptInterruptedError`, and what fails alone."""
        shape = _shape_in_batch(run, request)
        if shape is None or recipe.max_batch <= 1:
            return await self._alone(run, recipe, request, self._gpu)
        return await self._together(run, recipe, request, shape)

    async def _alone(
        self, run: AttemptRun, recipe: Recipe, request: RenderRequest, turn: asyncio.Lock
    ) -> EngineClip:
        await run.unless_asked(turn.acquire())
        try:
            seat = _Seat(run=run, request=request)
            (became,) = await self._on_engine(lambda: self._pass(recipe, [seat]))
        finally:
            turn.release()
        return _clip_or_raise(became)

    async def _together(
        self, run: AttemptRun, recipe: Recipe, request: RenderRequest, shape: Shape
    ) -> EngineClip:
        batch = self._gathering.get(shape)
        if batch is None or batch.full.is_set():
            assert run.order.batch is not None
            batch = self._gathering[shape] = _Batch(min(run.order.batch.size, recipe.max_batch))
            task = asyncio.create_task(self._run_batch(batch, recipe, shape))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        seat = _Seat(run=run, request=request)
        batch.join(seat)
        try:
            await run.unless_asked(batch.begun.wait())
            became = await seat.became
            if not isinstance(became, str):
                return _clip_or_raise(became)
            run.begin_again()
            return await self._alone(run, recipe, request, batch.turn)
        finally:
            batch.leave(seat)

    async def _run_batch(self, batch: _Batch, recipe: Recipe, shape: Shape) -> None:
        try:
            async with asyncio.timeout(self._gather_s):
                await batch.full.wait()
        except TimeoutError:
            log.info("batch.incomplete", model=recipe.name, members=len(batch.seats))
        async with self._gpu:
            if self._gathering.get(shape) is batch:
                del self._gathering[shape]
            seats = list(batch.seats)
            if not seats:
                return
            batch.begun.set()
            try:
                became = await self._on_engine(lambda: self._pass(recipe, seats))
            except Exception as error:  # the GPU loop's outer edge: whatever broke it, each member goes on
                if len(seats) == 1:
                    seats[0].became.set_exception(error)
                else:
                    log.exception("batch.broke", model=recipe.name, members=len(seats))
                    for seat in seats:
                        seat.became.set_result(_BROKEN)
            else:
                self._answer(seats, recipe, became)
            # The worker stays theirs until the last of those that go on one by one is done.
            await batch.left.wait()

    def _answer(self, seats: Sequence[_Seat], recipe: Recipe, became: Sequence[Rendered]) -> None:
        for seat, each in zip(seats, became, strict=True):
            if isinstance(each, EngineError) and len(seats) > 1:
                log.warning("batch.member_goes_alone", model=recipe.name, job_id=seat.run.order.job_id)
                seat.became.set_result(_BROKEN)
            else:
                seat.became.set_result(each)

    def _pass(self, recipe: Recipe, seats: Sequence[_Seat]) -> Sequence[Rendered]:
        """On the engine's thread. Who was asked to end by now is not in it."""
        self._load(recipe, [seat for seat in seats if seat.run.interrupt is None])
        wanted = [seat for seat in seats if seat.run.interrupt is None]
        for seat in wanted:
            seat.run.sharing = len(wanted)
        members = [Member(request=seat.request, hooks=seat.run) for seat in wanted]
        rendered: dict[_Seat, Rendered] = {}
        if members:
            metrics.pass_clips.labels(recipe.name).observe(len(members))
            became = self._engine.generate_batch(recipe, members)
            rendered = dict(zip(wanted, became, strict=True))
        return [rendered.get(seat) or _asked_to_end(seat.run) for seat in seats]

    def _load(self, recipe: Recipe, seats: Sequence[_Seat]) -> None:
        if not seats:
            return
        for seat in seats:
            seat.run.on_phase(AttemptPhase.LOADING)
        self.loading, started = recipe.name, time.monotonic()
        try:
            self._engine.load(recipe)
        finally:
            self.loading = None
            for seat in seats:
                seat.run.load_s = (time.monotonic() - started) / len(seats)

    async def _on_engine(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)


def _shape_in_batch(run: AttemptRun, request: RenderRequest) -> Shape | None:
    """What clips of one pass have in common; None for one that can't be in a batch."""
    order, spec = run.order, request.spec
    if order.batch is None or request.images or request.checkpoint is not None or request.saves_memory:
        return None
    return (
        order.batch.id,
        order.recipe,
        order.recipe_revision,
        spec.width,
        spec.height,
        spec.num_frames,
        spec.num_inference_steps,
        spec.guidance_scale,
    )


def _asked_to_end(run: AttemptRun) -> AttemptInterruptedError:
    assert run.interrupt is not None
    return AttemptInterruptedError(run.interrupt)


def _clip_or_raise(became: Rendered) -> EngineClip:
    if isinstance(became, Exception):
        raise became
    return became
