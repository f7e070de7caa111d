"""`python -m tests.storm.main --minutes 5 --seed 1`: a whole studio in a storm, and what is left of it."""

import argparse
import asyncio
import contextlib
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Coroutine, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy.exc import SQLAlchemyError

from backend.auth.principal import Principal, Role
from backend.db.migrate import upgrade
from backend.ending import end_tasks
from backend.log import configure_logging
from backend.services.create_api_key import create_api_key_for
from backend.services.create_user import create_user
from backend.services.grant_credits import grant_credits
from backend.settings import LogLevel
from backend.studio import Studio, open_studio
from tests.e2e.running_studio import free_port
from tests.storm.afterwards import Afterwards, decide_open_cases, left_to_do
from tests.storm.blows import Blows, ask_database
from tests.storm.cast import Cast
from tests.storm.load import Load, Tenant
from tests.storm.plan import ALONE, CONTROLS, WEBS, WORKERS, Fault, Kind, plan_faults
from tests.storm.relay import Relay
from tests.storm.report import Report, late_recoveries, live_line, not_calm
from tests.storm.watch import Watcher

T = TypeVar("T")
JOBS_PER_S = 0.6
"""About half of what three fake workers and a mini model on two cores make when nothing is wrong."""
UP_WITHIN_S = 300.0
CALM_WITHIN_S = 240.0
"""After the last fault: until every job has ended and every event was taken."""
CALM_AT_LAST_S = 900.0
"""The same by the clock on the wall: a machine that has no time for a quarter of an hour is no machine for this."""
SAYS_EVERY_S = 5.0
TICK_S = 0.1
_TENANTS = (("free", 3), ("free", 3), ("plus", 5), ("plus", 5), ("pro", 8), ("internal", 8))
"""Tier, and how many jobs an account has under way at most: together less than a minute's work and a half."""


class StormFailed(Exception):
    """The studio did not come up."""


class LoopThread:
    """An event loop in a thread of its own: clients and watcher go on while processes are killed and waited for."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="clients", daemon=True)
        self._thread.start()

    def start(self, work: Coroutine[Any, Any, T]) -> "Future[T]":
        """Begin it."""
        return asyncio.run_coroutine_threadsafe(work, self.loop)

    def do(self, work: Coroutine[Any, Any, T], within_s: float = 120) -> T:
        """Begin it, and wait for its result."""
        return self.start(work).result(within_s)

    def close(self) -> None:
        """End what is left, and the thread."""

        async def end() -> None:
            await end_tasks(*(asyncio.all_tasks() - {asyncio.current_task()}), within_s=5)

        with contextlib.suppress(TimeoutError):
            self.do(end(), within_s=10)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(5)


@dataclass
class Storm:
    """One storm over one folder: `run` it once."""

    folder: Path
    seed: int
    duration_s: float
    kinds: Sequence[Kind] = tuple(Kind)
    jobs_per_s: float = JOBS_PER_S
    calm_within_s: float = CALM_WITHIN_S
    calm_at_last_s: float = CALM_AT_LAST_S
    say: Any = print
    report: Report = field(init=False)

    def run(self) -> "Report":
        """Everything, from the first process to the last comparison."""
        self.report = Report(seed=self.seed, duration_s=self.duration_s)
        clients = LoopThread()
        cast: Cast | None = None
        try:
            ports = {name: free_port() for name in WEBS}
            relay = Relay([*ports.values()])
            clients.do(relay.start())
            cast = Cast(folder=self.folder, ports=ports, relay_port=relay.port)
            cast.start_services()
            upgrade(cast.settings.require_database_url())
            cast.start_studio()
            self._weather_the_storm(cast, clients, relay)
        finally:
            clients.close()
            if cast is not None:
                cast.stop()
        return self.report

    def _weather_the_storm(self, cast: Cast, clients: LoopThread, relay: Relay) -> None:
        bases = [f"http://127.0.0.1:{port}" for port in cast.ports.values()]
        studio = clients.do(_open(cast))
        tenants, moderator = clients.do(_people(studio))
        blows: Blows | None = None
        watcher = clients.do(
            _made(
                lambda: Watcher(
                    cast.settings,
                    bases,
                    lambda: blows.struck() if blows else [],
                    lambda: blows.over() if blows else [],
                )
            )
        )
        load = clients.do(
            _made(
                lambda: Load(
                    bases,
                    tenants,
                    seed=self.seed,
                    jobs_per_s=self.jobs_per_s,
                    under_way=watcher.under_way,
                    withheld=lambda: watcher.withheld,
                )
            )
        )
        url = cast.settings.require_database_url()
        blows = Blows(
            cast,
            ask=lambda statement: clients.do(ask_database(url, statement), within_s=15),
            live=watcher.live,
            tear_put=lambda: clients.loop.call_soon_threadsafe(relay.tear_next),
            tear_form=lambda: clients.loop.call_soon_threadsafe(load.tear_form),
        )
        watching = clients.start(watcher.run())
        self._until_up(cast, watcher)
        going = [clients.start(load.watch()), clients.start(_decide(studio, moderator))]
        submitting = clients.start(load.run())
        self._strike(cast, blows, watcher, load)
        submitting.cancel()
        calm_s = self._until_calm(cast, blows, watcher, load, lambda: clients.do(_left(studio)))
        for task in (*going, watching):
            # What broke a watcher must not pass for a clean run.
            if task.done():
                task.result()
            task.cancel()
        self._judge(cast, clients, studio, blows, watcher, load, calm_s)
        self.report.torn = relay.torn
        self.report.unexpected = list(cast.unexpected)
        clients.do(load.close())
        clients.do(relay.stop())
        clients.do(studio.close())

    def _until_up(self, cast: Cast, watcher: Watcher) -> None:
        deadline = time.monotonic() + UP_WITHIN_S
        while missing := _missing(cast, watcher):
            if time.monotonic() > deadline:
                raise StormFailed(
                    f"{', '.join(missing)} not up within {UP_WITHIN_S:g} s: see {cast.folder / 'logs'}"
                )
            cast.tend()
            time.sleep(TICK_S)
        cast.unexpected.clear()
        self.say(f"the studio is up; logs are in {cast.folder / 'logs'}")

    def _strike(self, cast: Cast, blows: Blows, watcher: Watcher, load: Load) -> None:
        plan = plan_faults(self.seed, self.duration_s, self.kinds)
        self.report.planned = len(plan)
        began = time.monotonic()
        said_at = began
        due = list(plan)
        last: Fault | None = None
        while due or blows.under_way or time.monotonic() - began < self.duration_s:
            now_s = time.monotonic() - began
            for going in [each for each in blows.under_way if each.fault.end_s <= now_s]:
                blows.end(going)
            if due and due[0].at_s <= now_s:
                last = due.pop(0)
                self.say(f"{now_s:6.1f} s  {last}")
                blows.begin(last)
            cast.tend()
            if time.monotonic() - said_at >= SAYS_EVERY_S:
                said_at = time.monotonic()
                self.say(live_line(now_s, watcher, load))
            time.sleep(TICK_S)

    def _until_calm(self, cast: Cast, blows: Blows, watcher: Watcher, load: Load, left: Any) -> float | None:
        """Seconds from the last fault's end until all was done; None when that took longer than the bound."""
        blows.end_all()
        began = said_at = last_at = time.monotonic()
        rest: Counter[str] = Counter()
        calm_since: int | None = None
        waited_s = 0.0
        while waited_s < self.calm_within_s and time.monotonic() - began < self.calm_at_last_s:
            # Only what the machine had time for counts.
            waited_s += 0.0 if watcher.stands_still else time.monotonic() - last_at
            last_at = time.monotonic()
            cast.tend()
            rest = left()
            recovered = sum(each.after_s is not None for each in watcher.seen.recoveries)
            calm = recovered == len(blows.ended) and watcher.all_ended() and not load.asking and not rest
            if not calm:
                calm_since = None
            elif calm_since is None:
                calm_since = watcher.seen.samples
            elif watcher.seen.samples >= calm_since + 2:
                # Twice over a whole sample: a client's last wish is not between two looks.
                return time.monotonic() - began
            if time.monotonic() - said_at >= SAYS_EVERY_S:
                said_at = time.monotonic()
                self.say(live_line(time.monotonic() - began, watcher, load) + f", to do {dict(rest)}")
            time.sleep(TICK_S)
        return None

    def _judge(
        self,
        cast: Cast,
        clients: LoopThread,
        studio: Studio,
        blows: Blows,
        watcher: Watcher,
        load: Load,
        calm_s: float | None,
    ) -> None:
        after = Afterwards(studio, load)
        outages = [(going.live, struck) for going, struck in blows.ended if struck.kind in ALONE]
        found = clients.do(after.judge(blows.struck(), outages), within_s=300)
        cast.stop_workers()
        found += clients.do(after.sweep(), within_s=300)
        found += after.sweep_drafts()
        self.report.fill(watcher.seen, load.memory, after, calm_s)
        self.report.violations = [
            *watcher.seen.violations.values(),
            *load.memory.violations,
            *late_recoveries(watcher.seen),
            *not_calm(calm_s, self.calm_within_s),
            *found,
        ]


def _missing(cast: Cast, watcher: Watcher) -> list[str]:
    """Who has not yet shown that it works."""
    latest = watcher.latest
    missing = [name for name in WORKERS if latest is None or name not in latest.heartbeats]
    if latest is None or not latest.leads:
        missing += CONTROLS
    return missing + [name for name in WEBS if not cast.web_answers(name)]


async def _made(make: Any) -> Any:
    return make()


async def _open(cast: Cast) -> Studio:
    return open_studio(cast.settings, pool_size=4)


async def _left(studio: Studio) -> Counter[str]:
    try:
        return await left_to_do(studio)
    except (SQLAlchemyError, OSError):
        return Counter(unknown=1)


async def _people(studio: Studio) -> tuple[list[Tenant], Principal]:
    tenants = []
    for number, (tier, most) in enumerate(_TENANTS):
        email = f"storm{number}@example.org"
        user = await create_user(studio, email=email, tier=tier)
        await grant_credits(studio, email=email, amount=100_000)
        secret = await create_api_key_for(studio, email=email, name="storm")
        tenants.append(Tenant(email=email, account_id=user.account_id, tier=tier, secret=secret, most=most))
    person = await create_user(studio, email="moderator@example.org", role=Role.MODERATOR)
    return tenants, Principal(
        user_id=person.id, account_id=person.account_id, role=Role.MODERATOR, tier="free"
    )


async def _decide(studio: Studio, moderator: Principal) -> None:
    while True:
        with contextlib.suppress(SQLAlchemyError, OSError):
            await decide_open_cases(studio, moderator)
        await asyncio.sleep(2)


def new_folder() -> Path:
    """A folder with a path short enough for sockets, which another user may pass through."""
    folder = Path(tempfile.mkdtemp(prefix="zoe-storm-", dir="/tmp"))
    folder.chmod(0o711)
    return folder


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when nothing was broken, 1 with a list of what was. The folder of a failed run is kept."""
    parser = argparse.ArgumentParser(prog="make storm", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0, help="for how long faults are dealt")
    parser.add_argument("--seed", type=int, default=1, help="of the plan of faults")
    parser.add_argument("--rate", type=float, default=JOBS_PER_S, help="submissions a second")
    parser.add_argument("--only", nargs="*", choices=[kind.value for kind in Kind], help="no other faults")
    parser.add_argument("--plan", action="store_true", help="print the faults, and deal none")
    asked = parser.parse_args(arguments)
    kinds = tuple(Kind(name) for name in asked.only) if asked.only else tuple(Kind)
    if asked.plan:
        for fault in plan_faults(asked.seed, asked.minutes * 60, kinds):
            print(f"{fault.at_s:6.1f} s  {fault}")
        return 0
    for name in [name for name in os.environ if name.startswith("ZOETROPE_")]:
        del os.environ[name]
    configure_logging("storm", LogLevel.ERROR)
    # As Ctrl-C does: what was started is stopped.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    folder = new_folder()
    storm = Storm(
        folder=folder, seed=asked.seed, duration_s=asked.minutes * 60, kinds=kinds, jobs_per_s=asked.rate
    )
    try:
        report = storm.run()
    except StormFailed as error:
        print(f"storm: {error}", file=sys.stderr)
        return 1
    print(report.text())
    if report.violations:
        print(f"\nlogs, database and storage of this run are kept in {folder}")
        return 1
    shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
