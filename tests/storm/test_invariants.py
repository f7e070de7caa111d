"""Each judge says nothing of what is right, and names what is made up to be wrong."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.storm.invariants import (
    ArtifactRow,
    Asked,
    AttemptRow,
    Fetched,
    JobRow,
    JobSeen,
    LiveAttempt,
    Rule,
    Sample,
    Shown,
    Struck,
    Violation,
    answers,
    changes,
    charges,
    deaf_until,
    ended,
    falls,
    fetchable,
    files,
    hasty,
    kept_words,
    leaderless,
    once,
    overdue,
    still_live,
    survival,
    told_twice,
    undone,
    unheld,
    unshown,
)
from tests.storm.plan import Kind
from tests.storm.report import late_recoveries, not_calm
from tests.storm.watch import Recovery, Seen

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def after(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def rules(found: list[Violation]) -> list[Rule]:
    return [each.rule for each in found]


RUNNING = JobSeen(
    id="video_1", account_id="acct_1", state="running", version=3, fence=1, steps_done=5, ended_at=None
)
DONE = replace(RUNNING, state="completed", version=6, steps_done=16, ended_at=NOON)
LIVE = LiveAttempt(id="att_1", job_id="video_1", worker_id="fake-1", lease_expires_at=NOON)
SAMPLE = Sample(at=NOON, jobs={"video_1": RUNNING}, live=[LIVE], leads=True)
JOB = JobRow(
    id="video_1",
    account_id="acct_1",
    seed=1,
    state="completed",
    ended_at=NOON,
    deleted=False,
    quoted=4,
    charged=4,
)
WISH = Asked(number=1, account_id="acct_1", key="wish-1", sent=2, unread=1, answered_with=["video_1"])
ATTEMPT = AttemptRow(
    id="att_1",
    job_id="video_1",
    worker_id="fake-1",
    state="lost",
    cause="lease_expired",
    ended_at=after(30),
)
VIDEO = ArtifactRow(
    job_id="video_1",
    kind="video",
    key="judged/video_1/video-1.mp4",
    sha256="aa",
    state="released",
    released_at=after(2),
    allowed_at=after(1),
)
ARTIFACTS = [
    VIDEO,
    replace(VIDEO, kind="thumbnail", sha256="bb"),
    replace(VIDEO, kind="spritesheet", sha256="cc"),
]
KEYS = ("judged/video_1/video-1.mp4", "uploads/acct_1/up_1.png")
UPLOADS = {"uploads/acct_1/up_1.png": "stored"}
SERVED = {("video_1", row.kind): row.sha256 for row in ARTIFACTS}


class TestBetweenTwoSamples:
    def test_a_job_that_moves_on_is_fine(self) -> None:
        assert changes({"video_1": RUNNING}, {"video_1": DONE}) == []
        assert changes({"video_1": DONE}, {"video_1": DONE}) == []

    def test_a_job_that_disappears(self) -> None:
        assert rules(changes({"video_1": RUNNING}, {})) == [Rule.LOST]

    @pytest.mark.parametrize("now", [{"state": "failed"}, {"ended_at": after(1)}])
    def test_an_end_that_changes(self, now: dict[str, Any]) -> None:
        assert rules(changes({"video_1": DONE}, {"video_1": replace(DONE, **now)})) == [Rule.END_CHANGED]

    @pytest.mark.parametrize("now", [{"version": 2}, {"fence": 0}, {"steps_done": 4}])
    def test_what_goes_back(self, now: dict[str, Any]) -> None:
        assert rules(changes({"video_1": RUNNING}, {"video_1": replace(RUNNING, **now)})) == [Rule.WENT_BACK]


class TestOneSample:
    def test_a_lease_may_be_late_by_fifteen_seconds(self) -> None:
        long_ago = after(-60)
        assert overdue(replace(SAMPLE, at=after(15)), long_ago) == []
        assert rules(overdue(replace(SAMPLE, at=after(15.1)), long_ago)) == [Rule.OVERDUE]

    def test_a_leader_that_was_deaf_hears_for_a_lease_first(self) -> None:
        assert overdue(replace(SAMPLE, at=after(44)), after(20)) == []
        assert rules(overdue(replace(SAMPLE, at=after(46)), after(20))) == [Rule.OVERDUE]

    def test_nobody_leads_long_after_the_last_fault(self) -> None:
        bound = timedelta(seconds=30)
        nobody = replace(SAMPLE, at=after(31), leads=False)
        assert rules(leaderless(nobody, NOON, bound)) == [Rule.LEADERLESS]
        assert leaderless(nobody, after(5), bound) == []
        assert leaderless(replace(nobody, leads=True), NOON, bound) == []

    def test_a_running_job_has_one_live_attempt_and_no_other_job_has_any(self) -> None:
        assert unheld(SAMPLE) == []
        assert rules(unheld(replace(SAMPLE, live=[]))) == [Rule.UNHELD]
        assert rules(unheld(replace(SAMPLE, live=[LIVE, LIVE]))) == [Rule.UNHELD]
        assert rules(unheld(replace(SAMPLE, jobs={"video_1": DONE}))) == [Rule.UNHELD]


class TestWhatOwnersSee:
    BEFORE = Shown(status="in_progress", progress=40, steps_done=6)

    def test_progress_that_stays_or_grows_is_fine(self) -> None:
        assert falls("video_1", self.BEFORE, self.BEFORE) == []
        assert falls("video_1", self.BEFORE, Shown(status="completed", progress=100, steps_done=16)) == []

    @pytest.mark.parametrize(
        "now",
        [
            Shown(status="in_progress", progress=39, steps_done=6),
            Shown(status="in_progress", progress=40, steps_done=5),
            Shown(status="queued", progress=40, steps_done=6),
        ],
    )
    def test_what_falls(self, now: Shown) -> None:
        assert rules(falls("video_1", self.BEFORE, now)) == [Rule.PROGRESS_FELL]

    def test_an_end_that_becomes_another(self) -> None:
        one, other = (Shown(status=status, progress=100, steps_done=16) for status in ("completed", "failed"))
        assert rules(falls("video_1", one, other)) == [Rule.PROGRESS_FELL]

    def test_each_event_is_told_once_and_the_end_last(self) -> None:
        one, two, end = '{"status":"queued"}', '{"status":"in_progress"}', '{"status":"completed"}'
        assert told_twice("video_1", [one, two, end]) == []
        assert rules(told_twice("video_1", [one, one, end])) == [Rule.TOLD_TWICE]
        assert rules(told_twice("video_1", [one, end, two])) == [Rule.TOLD_TWICE]
        assert rules(told_twice("video_1", [end, '{"status":"completed","x":1}'])) == [Rule.TOLD_TWICE]


class TestAnswers:
    def test_a_wish_that_was_sent_twice_and_is_one_job_is_fine(self) -> None:
        assert answers([WISH], [JOB]) == []

    def test_a_wish_that_was_refused_and_is_no_job_is_fine(self) -> None:
        assert answers([replace(WISH, answered_with=[], refused="429")], []) == []

    def test_an_acknowledged_job_that_is_not_there(self) -> None:
        assert rules(answers([WISH], [])) == [Rule.LOST]

    def test_two_jobs_of_one_wish(self) -> None:
        assert rules(answers([WISH], [JOB, replace(JOB, id="video_2")])) == [Rule.DOUBLED]

    def test_two_answers_to_one_key(self) -> None:
        wish = replace(WISH, answered_with=["video_1", "video_2"])
        assert set(rules(answers([wish], [JOB, replace(JOB, id="video_2")]))) == {
            Rule.DOUBLED,
            Rule.TWO_ANSWERS,
        }

    def test_half_a_form_that_became_a_job(self) -> None:
        assert rules(answers([replace(WISH, torn=True)], [JOB])) == [Rule.TORN]

    def test_another_accounts_job_with_the_same_seed_is_another_job(self) -> None:
        assert answers([WISH], [JOB, replace(JOB, id="video_2", account_id="acct_2")]) == []

    def test_a_job_that_did_not_end(self) -> None:
        assert ended([JOB]) == []
        assert rules(ended([replace(JOB, state="approved")])) == [Rule.NOT_ENDED]
        assert rules(ended([replace(JOB, ended_at=None)])) == [Rule.NOT_ENDED]

    def test_a_cancel_and_a_delete_that_were_acknowledged(self) -> None:
        assert kept_words(["video_1"], [], [replace(JOB, state="cancelled")]) == []
        assert rules(kept_words(["video_1"], [], [JOB])) == [Rule.BROKEN_WORD]
        assert kept_words([], ["video_1"], [replace(JOB, deleted=True)]) == []
        assert rules(kept_words([], ["video_1"], [JOB])) == [Rule.BROKEN_WORD]


class TestMoney:
    def test_a_completed_job_has_one_charge(self) -> None:
        assert charges([JOB], {"video_1": [4]}) == []

    @pytest.mark.parametrize("spent", [[], [3], [4, 4], [2, 2]])
    def test_any_other_charge_of_a_completed_job(self, spent: list[int]) -> None:
        assert rules(charges([JOB], {"video_1": spent})) == [Rule.CHARGE]

    def test_a_cancelled_job_may_have_one_charge_below_its_price(self) -> None:
        cancelled = replace(JOB, state="cancelled", charged=2)
        assert charges([cancelled], {"video_1": [2]}) == []
        assert charges([replace(cancelled, charged=0)], {}) == []
        assert rules(charges([replace(cancelled, charged=5)], {"video_1": [5]})) == [Rule.CHARGE]
        assert rules(charges([cancelled], {"video_1": [1, 1]})) == [Rule.CHARGE]


class TestDeafLeaders:
    OUTAGE = Struck(kind=Kind.VALKEY_AWAY, target="", began_at=NOON, ended_at=after(14))

    @pytest.mark.parametrize("at_s", [5, 14, 22])
    def test_nobody_is_buried_during_an_outage_or_the_lease_after_it(self, at_s: float) -> None:
        assert rules(hasty([replace(ATTEMPT, ended_at=after(at_s))], [self.OUTAGE])) == [Rule.HASTY]

    @pytest.mark.parametrize("at_s", [-5, 0.5, 23.5, 30])
    def test_before_and_after_that_they_may_be(self, at_s: float) -> None:
        assert hasty([replace(ATTEMPT, ended_at=after(at_s))], [self.OUTAGE]) == []

    def test_what_a_worker_says_itself_is_no_burial(self) -> None:
        assert hasty([replace(ATTEMPT, ended_at=after(5), cause="worker_lost")], [self.OUTAGE]) == []

    def test_a_new_leader_listens_first(self) -> None:
        killed = Struck(kind=Kind.KILL_LEADER, target="control-1", began_at=NOON, ended_at=NOON)
        assert rules(hasty([replace(ATTEMPT, ended_at=after(8))], [killed])) == [Rule.HASTY]
        assert hasty([replace(ATTEMPT, ended_at=after(13))], [killed]) == []

    def test_what_ran_when_valkey_went_away_is_not_lost(self) -> None:
        lost = replace(ATTEMPT, ended_at=after(25))
        assert rules(survival([lost], ["att_1"], self.OUTAGE, [self.OUTAGE])) == [Rule.NOT_SURVIVED]
        assert survival([replace(lost, state="done")], ["att_1"], self.OUTAGE, [self.OUTAGE]) == []
        assert survival([lost], [], self.OUTAGE, [self.OUTAGE]) == []

    def test_a_worker_that_was_hurt_at_that_time_may_lose_it(self) -> None:
        hurt = Struck(kind=Kind.KILL_WORKER, target="fake-1", began_at=after(-3), ended_at=after(-3))
        lost = replace(ATTEMPT, ended_at=after(25))
        assert survival([lost], ["att_1"], self.OUTAGE, [self.OUTAGE, hurt]) == []

    def test_only_what_deafens_makes_a_leader_deaf(self) -> None:
        flush = Struck(kind=Kind.FLUSHALL, target="", began_at=after(60), ended_at=after(60))
        assert deaf_until([self.OUTAGE, flush], NOON) == deaf_until([self.OUTAGE], NOON) > after(14)


class TestBytes:
    def test_bytes_after_verdict_and_release(self) -> None:
        assert unshown([Fetched(job_id="video_1", sha256="aa", at=after(3))], ARTIFACTS) == []

    @pytest.mark.parametrize("at_s", [0.5, 1.5])
    def test_bytes_before_either(self, at_s: float) -> None:
        fetched = [Fetched(job_id="video_1", sha256="aa", at=after(at_s))]
        assert rules(unshown(fetched, ARTIFACTS)) == [Rule.UNSHOWN]

    def test_bytes_without_a_verdict_or_without_a_row(self) -> None:
        fetched = [Fetched(job_id="video_1", sha256="aa", at=after(3))]
        assert rules(unshown(fetched, [replace(VIDEO, allowed_at=None)])) == [Rule.UNSHOWN]
        assert rules(unshown(fetched, [replace(VIDEO, released_at=None)])) == [Rule.UNSHOWN]
        assert rules(unshown(fetched, [])) == [Rule.UNSHOWN]

    def test_a_completed_clip_is_served_as_it_was_judged(self) -> None:
        assert fetchable([JOB], ARTIFACTS, SERVED) == []
        assert fetchable([replace(JOB, deleted=True)], [], {}) == []
        assert fetchable([replace(JOB, state="blocked")], [], {}) == []

    def test_a_completed_clip_that_is_not(self) -> None:
        assert rules(fetchable([JOB], ARTIFACTS, SERVED | {("video_1", "video"): "xx"})) == [
            Rule.NOT_FETCHABLE
        ]
        assert Rule.NOT_FETCHABLE in rules(fetchable([JOB], ARTIFACTS[1:], SERVED))
        assert len(fetchable([JOB], ARTIFACTS, {})) == 3


class TestStorage:
    def test_rows_and_files_agree(self) -> None:
        assert files(KEYS, [VIDEO], UPLOADS) == []
        assert files(KEYS[1:], [replace(VIDEO, state="deleted")], UPLOADS) == []

    def test_a_file_without_a_row(self) -> None:
        assert rules(files([*KEYS, "jobs/video_1/1/clip.mp4"], [VIDEO], UPLOADS)) == [Rule.ORPHAN]
        assert rules(files(KEYS, [replace(VIDEO, state="deleted")], UPLOADS)) == [Rule.ORPHAN]
        assert rules(files(KEYS, [VIDEO], {})) == [Rule.ORPHAN]

    def test_a_row_without_a_file(self) -> None:
        assert rules(files(KEYS[1:], [VIDEO], UPLOADS)) == [Rule.MISSING]
        assert rules(files(KEYS[:1], [VIDEO], UPLOADS)) == [Rule.MISSING]


class TestEffects:
    def test_an_effect_that_happened_twice(self) -> None:
        assert once("judged", {"video_1 video": 1}) == []
        assert rules(once("judged", {"video_1 video": 2})) == [Rule.EFFECT_TWICE]

    def test_an_event_that_was_never_done(self) -> None:
        assert undone([]) == []
        assert rules(undone([("publish", "video_1", 4)])) == [Rule.UNDONE]

    def test_an_attempt_that_outlives_all_jobs(self) -> None:
        assert still_live([ATTEMPT]) == []
        assert rules(still_live([replace(ATTEMPT, state="running")])) == [Rule.UNHELD]


class TestTime:
    STRUCK = Struck(kind=Kind.KILL_WEB, target="web-1", began_at=NOON, ended_at=NOON)

    def test_everybody_is_back_to_work_in_time(self) -> None:
        def seen(undisturbed_s: float | None) -> Seen:
            return Seen(recoveries=[Recovery(struck=self.STRUCK, undisturbed_s=undisturbed_s)])

        assert late_recoveries(seen(59.0)) == []
        assert rules(late_recoveries(seen(61.0))) == [Rule.NOT_RECOVERED]
        assert rules(late_recoveries(seen(None))) == [Rule.NOT_RECOVERED]

    def test_a_studio_that_does_not_come_to_rest(self) -> None:
        assert not_calm(12.0, 240) == []
        assert rules(not_calm(None, 240)) == [Rule.NOT_ENDED]
