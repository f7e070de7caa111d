"""Watching a clip being made: on the stage, in its row, on its own page, and from anywhere else."""

from collections.abc import Callable

import httpx
import pytest
from playwright.sync_api import Page, Route

from tests.ui.conftest import Visitor

pytestmark = pytest.mark.browser


def test_a_running_job_is_stopped_only_after_its_price_was_told(visit: Callable[..., Visitor]) -> None:
    page = visit("creator").go("/progress", ".strip")
    strip = page.locator(".strip", has_text="Step 118 of 200")
    strip.get_by_role("button", name="Cancel").click()
    page.locator("#stop-job", has_text="You pay 4 of 6 credits").wait_for()
    page.get_by_role("button", name="Keep it running").click()
    assert page.locator("#stop-job").is_hidden()
    assert strip.count() == 1


def test_a_waiting_job_is_cancelled_at_once_and_can_be_queued_again(visit: Callable[..., Visitor]) -> None:
    page = visit("creator").go("/progress", ".strip")
    page.locator(".strip", has_text="2nd of 14").get_by_role("button", name="Cancel").click()
    page.locator(".toast", has_text="not charged").get_by_role("button", name="Queue it again").click()
    page.locator(".toast", has_text="In the queue again").wait_for()


def _send(page: Page, prompt: str) -> str:
    """Send a prompt on the front page; the job's id."""
    page.fill("#prompt", prompt)
    page.get_by_role("button", name="Generate").click()
    page.locator("#now", has_text=prompt).wait_for()
    return str(page.locator("#now").get_attribute("data-stage"))


def test_the_job_is_large_while_it_is_made_and_its_clip_plays_in_its_place(
    visit: Callable[..., Visitor], served: str
) -> None:
    visitor = visit("watcher")
    page = visitor.go("/", ".choice")
    job_id = _send(page, "a purple circle shrinking on a white background")
    httpx.post(f"{served}/fake/step/{job_id}/9").raise_for_status()
    page.locator("#now", has_text="Step 9 of 16").wait_for()
    page.wait_for_selector("#now img[src*='noise']")
    page.evaluate("window.screen_ = document.querySelector('#now .live-screen')")
    before = page.locator("#now .live-screen").bounding_box()
    assert before is not None
    assert before["height"] > 300
    httpx.post(f"{served}/fake/finish/{job_id}").raise_for_status()
    page.wait_for_selector(f"#now [data-tile={job_id}] video.seen")
    assert page.evaluate("window.screen_ === document.querySelector('#now .live-screen')")
    assert page.locator("#now .live-screen").bounding_box() == before
    assert page.locator(f".wall [data-tile={job_id}]").count() == 0
    visitor.go("/progress", ".empty")
    visitor.go("/", f".wall [data-tile={job_id}]")
    assert page.locator("#now").count() == 0
    assert visitor.complaints == []


def test_a_rows_job_becomes_its_clip_in_the_row(visit: Callable[..., Visitor], served: str) -> None:
    page = visit("watcher").go("/", ".choice")
    job_id = _send(page, "a red star growing on a black background")
    page.goto(f"{served}/progress")
    page.locator(".strip", has_text="red star growing").wait_for()
    httpx.post(f"{served}/fake/finish/{job_id}").raise_for_status()
    row = page.locator(".strip-ready", has_text="red star growing")
    row.wait_for()
    assert page.locator(".toast").count() == 0
    row.get_by_role("link", name="a red star growing on a black background", exact=True).click()
    page.wait_for_url(f"**/clips/{job_id}")


def test_a_rows_frame_is_never_blank(visit: Callable[..., Visitor], served: str) -> None:
    page = visit("watcher").go("/", ".choice")
    job_id = _send(page, "a white square growing on a red background")
    page.goto(f"{served}/progress")
    page.locator(".strip", has_text="white square growing").wait_for()
    held: list[Route] = []
    page.route("**/fake/3.webp", lambda route: held.append(route))
    httpx.post(f"{served}/fake/finish/{job_id}").raise_for_status()
    row = page.locator(".strip-ready", has_text="white square growing")
    row.wait_for()
    # The poster has not come: the mark is seen in its place.
    row.locator(".strip-frame .mark").wait_for()
    page.wait_for_function("document.querySelector('.strip-ready z-clip img').loading === 'eager'")
    for request in held:
        request.continue_()
    page.wait_for_function("document.querySelector('.strip-ready z-clip img').naturalWidth > 0")


def test_elsewhere_a_notice_leads_to_the_clip(visit: Callable[..., Visitor], served: str) -> None:
    page = visit("watcher").go("/", ".choice")
    job_id = _send(page, "a green square moving up on a white background")
    page.goto(f"{served}/account")
    page.wait_for_selector(".account-top")
    page.locator(".rail-count").wait_for()
    httpx.post(f"{served}/fake/finish/{job_id}").raise_for_status()
    notice = page.locator(".toast", has_text="Your clip is ready: a green square")
    notice.get_by_role("link", name="Open").click()
    page.wait_for_url(f"**/clips/{job_id}")
    page.wait_for_selector("z-player video")


def test_a_clips_own_page_follows_it_from_the_queue_to_the_player(
    visit: Callable[..., Visitor], served: str
) -> None:
    visitor = visit("watcher")
    page = visitor.go("/", ".choice")
    job_id = _send(page, "a blue triangle moving left on a yellow background")
    page.locator("#now .live-screen").click()
    page.wait_for_url(f"**/clips/{job_id}")
    page.locator(".clip-live", has_text="Next in line").wait_for()
    httpx.post(f"{served}/fake/step/{job_id}/4").raise_for_status()
    page.locator(".clip-live", has_text="Step 4 of 16").wait_for()
    page.get_by_role("button", name="Stop").wait_for()
    httpx.post(f"{served}/fake/finish/{job_id}").raise_for_status()
    page.wait_for_selector("z-player video")
    page.get_by_role("link", name="Download").wait_for()
    assert page.locator(".toast").count() == 0
    assert visitor.complaints == []


def test_the_stop_dialog_follows_the_job(visit: Callable[..., Visitor], served: str) -> None:
    page = visit("watcher").go("/", ".choice")
    job_id = _send(page, "a white circle moving down on a black background")
    httpx.post(f"{served}/fake/step/{job_id}/8").raise_for_status()
    page.locator("#now", has_text="Step 8 of 16").wait_for()
    page.locator("#now").get_by_role("button", name="Cancel").click()
    page.locator("#stop-job", has_text="You pay 1 of 2 credits").wait_for()
    httpx.post(f"{served}/fake/step/{job_id}/16").raise_for_status()
    page.locator("#stop-job", has_text="You pay 2 of 2 credits").wait_for()
    httpx.post(f"{served}/fake/finish/{job_id}").raise_for_status()
    page.locator("#stop-job", has_text="nothing left to stop").wait_for()
    assert page.get_by_role("button", name="Stop it").count() == 0
    assert page.get_by_role("button", name="Keep it running").count() == 0
    page.keyboard.press("Escape")
    page.wait_for_function("document.activeElement.closest('#now')?.dataset.stage !== undefined")


def test_stopping_closes_its_dialog_at_once_and_agrees_to_the_steps_that_were_shown(
    visit: Callable[..., Visitor], served: str
) -> None:
    page = visit("watcher").go("/", ".choice")
    job_id = _send(page, "a black star moving up on a white background")
    httpx.post(f"{served}/fake/step/{job_id}/8").raise_for_status()
    page.locator("#now", has_text="Step 8 of 16").wait_for()
    page.locator("#now").get_by_role("button", name="Cancel").click()
    page.locator("#stop-job", has_text="You pay 1 of 2 credits").wait_for()
    page.evaluate("document.querySelector('#stop-job .button-danger').click()")
    assert not page.evaluate("document.querySelector('#stop-job').open")
    page.locator(".toast", has_text="You paid for 8 steps").wait_for()


def test_a_preview_that_is_gone_leaves_the_one_before_it(visit: Callable[..., Visitor], served: str) -> None:
    page = visit("watcher").go("/", ".choice")
    job_id = _send(page, "a red star moving up on a white background")
    page.locator("#now .mark").wait_for()
    httpx.post(f"{served}/fake/step/{job_id}/9").raise_for_status()
    page.wait_for_function("document.querySelector('#now img[data-preview]')?.naturalWidth > 0")
    page.route("**/fake/3-noise.webp?step=12", lambda route: route.fulfill(status=404))
    with page.expect_response("**/fake/3-noise.webp?step=12"):
        httpx.post(f"{served}/fake/step/{job_id}/12").raise_for_status()
    page.wait_for_function(
        """() => { const image = document.querySelector('#now img[data-preview]');
                   return image.src.endsWith('step=9') && image.complete && image.naturalWidth > 0; }"""
    )
    httpx.post(f"{served}/fake/finish/{job_id}").raise_for_status()


def test_a_picture_never_stands_beside_another_jobs_words(visit: Callable[..., Visitor], served: str) -> None:
    page = visit("watcher").go("/progress", ".room-progress")
    first, second = (httpx.post(f"{served}/fake/make/acc_7").json()["id"] for _ in range(2))
    for job_id in (first, second):
        httpx.post(f"{served}/fake/step/{job_id}/9").raise_for_status()
    row = f".strip:has([data-job={second}]) img[data-preview]"
    page.locator(row).wait_for()
    page.evaluate("(row) => { window.picture = document.querySelector(row); }", row)
    httpx.post(f"{served}/fake/finish/{first}").raise_for_status()
    page.locator(f".strip-ready[data-tile={first}]").wait_for()
    assert page.evaluate("(row) => window.picture === document.querySelector(row)", row)
    page.goto(served)
    page.locator(f"#now[data-stage={second}] img[data-preview]").wait_for()
    page.evaluate("window.picture = document.querySelector('#now img[data-preview]')")
    third = httpx.post(f"{served}/fake/make/acc_7").json()["id"]
    httpx.post(f"{served}/fake/step/{third}/9").raise_for_status()
    httpx.post(f"{served}/fake/finish/{second}").raise_for_status()
    page.locator(f"#now[data-stage={third}] img[data-preview]").wait_for()
    assert not page.evaluate("window.picture === document.querySelector('#now img[data-preview]')")
    httpx.post(f"{served}/fake/finish/{third}").raise_for_status()


def test_next_in_the_queue_comes_first_and_a_job_just_sent_is_seen_however_many_are_before_it(
    visit: Callable[..., Visitor],
) -> None:
    page = visit("busy").go("/", ".choice")
    page.locator(".behind-more").get_by_role("link", name="13 more").wait_for()
    page.fill("#prompt", "an orange circle growing")
    page.get_by_role("button", name="Generate").click()
    page.locator(".behind-job", has_text="an orange circle growing").first.wait_for()
    prompts = page.locator(".behind-prompt").all_inner_texts()
    assert prompts == ["a blue square staying still on an orange background"] * 3 + [
        "an orange circle growing"
    ]
    assert page.locator(".behind > li").last.inner_text().startswith("an orange circle growing")
    page.locator(".behind-more").get_by_role("link", name="14 more").click()
    page.wait_for_url("**/progress")


def test_it_is_said_that_more_wait_than_are_listed(visit: Callable[..., Visitor]) -> None:
    page = visit("crowded").go("/progress", ".strip")
    page.get_by_text("These are the first 100.").wait_for()
    page = visit("busy").go("/progress", ".strip")
    assert page.get_by_text("These are the first 100.").count() == 0


def test_nothing_is_headed_latest_before_there_is_a_clip(visit: Callable[..., Visitor]) -> None:
    page = visit("busy").go("/", ".behind")
    assert page.get_by_role("heading", name="Latest").count() == 0


def test_what_waits_for_a_moderator_is_not_counted_as_on_its_way(visit: Callable[..., Visitor]) -> None:
    page = visit("reviewed").go("/progress", ".strip")
    strip = page.locator(".strip", has_text="Waits for a moderator")
    assert strip.locator("z-ring").count() == 0
    assert page.get_by_role("link", name="In progress").locator(".rail-count").count() == 0


def test_what_ended_is_one_line_until_somebody_looks_and_is_removed_when_that_is_meant(
    visit: Callable[..., Visitor],
) -> None:
    page = visit("unlucky").go("/", ".asides")
    assert page.locator(".ended").first.is_hidden()
    page.get_by_text("3 ended without a clip").click()
    assert page.locator(".ended-why").first.inner_text() == "Failed, not charged"
    assert page.evaluate(
        "[...document.querySelectorAll('.ended')].every((line) => line.getBoundingClientRect().height < 48)"
    )
    page.get_by_role("button", name="Remove all").click()
    page.locator("#remove-ended", has_text="Remove these 3 jobs?").get_by_role("button", name="Keep").click()
    page.get_by_role("button", name="Remove all").click()
    page.locator("#remove-ended").get_by_role("button", name="Remove", exact=True).click()
    page.locator(".toast", has_text="3 jobs removed.").wait_for()
    page.locator(".asides").wait_for(state="detached")
