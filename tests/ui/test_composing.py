"""Composing, watching and sorting clips, by mouse and by keys."""

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from tests.ui.conftest import Visitor

pytestmark = pytest.mark.browser


def test_a_draft_survives_leaving_the_page_until_it_is_sent(visit: Callable[..., Visitor]) -> None:
    visitor = visit("drafter")
    page = visitor.go("/", ".choice")
    page.get_by_role("button", name="Generate").wait_for()
    page.fill("#prompt", "a green star growing on a black background")
    page.goto(visitor.url + "/gallery")
    page.wait_for_selector(".empty")
    visitor.go("/", ".choice")
    page.wait_for_function("document.querySelector('#prompt').value.startsWith('a green star')")
    page.locator("#prompt").press("Control+Enter")
    page.locator(".strip-prompt", has_text="a green star growing").wait_for()
    assert page.input_value("#prompt") == ""
    page.reload()
    page.wait_for_selector(".choice")
    page.locator(".strip").first.wait_for()
    assert page.input_value("#prompt") == ""
    assert visitor.complaints == []


def test_the_price_follows_the_steps_and_a_wrong_number_is_told_beside_its_field(
    visit: Callable[..., Visitor],
) -> None:
    page = visit("creator").go("/", ".choice")
    page.locator(".price", has_text="2 credits").wait_for()
    page.locator("details.more summary").click()
    page.fill("#steps", "80")
    page.locator(".price", has_text="10 credits").wait_for()
    page.fill("#steps", "3000")
    page.locator(".field", has=page.locator("#steps")).get_by_text("4 to 400.", exact=False).last.wait_for()
    page.locator(".field-error", has_text="from 4 to 400").wait_for()


def test_a_refused_prompt_is_told_at_the_prompt_and_kept(visit: Callable[..., Visitor]) -> None:
    page = visit("creator").go("/", ".choice")
    page.fill("#prompt", "gore")
    page.get_by_role("button", name="Generate").click()
    page.locator(".prompt-room [role=alert]", has_text="not charged").wait_for()
    assert page.input_value("#prompt") == "gore"
    assert page.get_attribute("#prompt", "aria-invalid") == "true"


def test_an_empty_prompt_is_not_sent(visit: Callable[..., Visitor]) -> None:
    page = visit("creator").go("/", ".choice")
    page.get_by_role("button", name="Generate").click()
    page.locator(".prompt-room [role=alert]").wait_for()
    assert page.evaluate("document.activeElement.id") == "prompt"


def test_an_example_becomes_the_prompt(visit: Callable[..., Visitor]) -> None:
    page = visit("creator").go("/", ".example")
    words = page.locator(".example").first.inner_text()
    page.locator(".example").first.click()
    assert page.input_value("#prompt") == words


def test_an_image_is_shown_sent_and_taken_away(visit: Callable[..., Visitor], tmp_path: Path) -> None:
    picture = tmp_path / "first.png"
    Image.effect_noise((64, 64), 80).convert("RGB").save(picture)
    page = visit("creator").go("/", "z-drop")
    page.set_input_files("z-drop input[type=file]", picture)
    page.wait_for_selector("z-drop[data-state=there]")
    assert page.input_value("z-drop [name=image_id]") == "upload_1"
    page.get_by_role("button", name="Remove the image").click()
    assert page.input_value("z-drop [name=image_id]") == ""


def test_a_file_that_is_no_picture_is_refused_in_words(visit: Callable[..., Visitor], tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("not a picture")
    page = visit("creator").go("/", "z-drop")
    page.set_input_files("z-drop input[type=file]", text)
    page.get_by_text("PNG, JPEG or WebP").wait_for()


def test_settings_of_a_clip_fill_the_composer(visit: Callable[..., Visitor]) -> None:
    page = visit("creator").go("/?from=video_0001", ".choice")
    page.wait_for_function("document.querySelector('#seed').value === '918273645'")
    assert page.input_value("#steps") == "24"
    assert page.locator("input[name=size][value='448x256']").is_checked()


def test_a_running_job_is_stopped_only_after_its_price_was_told(visit: Callable[..., Visitor]) -> None:
    page = visit("creator").go("/progress", ".strip")
    strip = page.locator(".strip", has_text="Step 118 of 200")
    strip.get_by_role("button", name="Cancel").click()
    page.locator("#stop-job", has_text="You pay 4 of 6 credits").wait_for()
    page.get_by_role("button", name="Let it go on").click()
    assert page.locator("#stop-job").is_hidden()
    assert strip.count() == 1


def test_a_waiting_job_is_cancelled_at_once_and_can_be_queued_again(visit: Callable[..., Visitor]) -> None:
    page = visit("creator").go("/progress", ".strip")
    page.locator(".strip", has_text="2nd of 14").get_by_role("button", name="Cancel").click()
    page.locator(".toast", has_text="not charged").get_by_role("button", name="Queue it again").click()
    page.locator(".toast", has_text="In the queue again").wait_for()


def test_the_gallery_is_worked_by_keys(visit: Callable[..., Visitor]) -> None:
    visitor = visit("creator")
    page = visitor.go("/gallery", ".wall [data-tile]")
    page.wait_for_function("document.documentElement.dataset.ready !== undefined")
    page.keyboard.press("j")
    page.keyboard.press("j")
    first, second = (page.locator("[data-tile]").nth(i).get_attribute("data-tile") for i in (0, 1))
    assert first != second
    assert page.evaluate("document.activeElement.closest('[data-tile]').dataset.tile") == second
    page.wait_for_selector(f"[data-tile={second}] video.seen")
    page.keyboard.press("k")
    before = page.locator(f"[data-tile={first}] [data-verb=favourite]").get_attribute("aria-pressed")
    page.keyboard.press("f")
    after = "false" if before == "true" else "true"
    page.wait_for_selector(f"[data-tile={first}] [data-verb=favourite][aria-pressed={after}]")
    page.keyboard.press("x")
    page.locator(".selection", has_text="1 selected").wait_for()
    page.keyboard.press("?")
    page.locator("#keys-help").wait_for()
    page.keyboard.press("Escape")
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.matches('[data-search]')")
    page.keyboard.type("purple square")
    page.wait_for_function("document.querySelectorAll('[data-tile]').length === 1")
    page.keyboard.press("Escape")
    assert visitor.complaints == []


def test_a_search_without_a_match_offers_the_way_back(visit: Callable[..., Visitor]) -> None:
    page = visit("creator").go("/gallery", ".wall [data-tile]")
    page.fill("[data-search]", "a dog on a surfboard")
    page.get_by_text("Nothing like that").wait_for()
    page.get_by_role("button", name="Show all clips").click()
    page.wait_for_selector("[data-tile]")


def test_more_clips_come_when_asked_for(visit: Callable[..., Visitor]) -> None:
    page = visit("creator").go("/gallery", ".wall [data-tile]")
    before = page.locator("[data-tile]").count()
    page.get_by_role("button", name="Load more").click()
    page.wait_for_function(f"document.querySelectorAll('[data-tile]').length > {before}")


def test_a_clip_plays_steps_by_frames_and_goes_on_after_its_address_ended(
    visit: Callable[..., Visitor],
) -> None:
    visitor = visit("creator")
    page = visitor.go("/clips/video_0003", "z-player video")
    page.wait_for_function("document.querySelector('z-player video').currentTime > 0.2")
    page.keyboard.press(" ")
    page.wait_for_function("document.querySelector('z-player video').paused")
    page.keyboard.press(".")
    page.wait_for_function("/^frame \\d+ of 17$/.test(document.querySelector('.player-count').textContent)")
    at = page.inner_text(".player-count")
    page.keyboard.press(".")
    page.wait_for_function(f"document.querySelector('.player-count').textContent !== '{at}'")
    moment = page.evaluate("document.querySelector('z-player video').currentTime")
    page.evaluate("document.querySelector('z-player video').dispatchEvent(new Event('error'))")
    page.wait_for_function("document.querySelector('z-player video').src.includes('again=1')")
    page.wait_for_function(
        f"Math.abs(document.querySelector('z-player video').currentTime - {moment}) < 0.05"
    )


def test_a_clip_is_downloaded_as_a_file(visit: Callable[..., Visitor]) -> None:
    page = visit("creator").go("/clips/video_0003", "z-player video")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    assert download.value.path().read_bytes()[4:8] == b"ftyp"


def test_a_clip_of_somebody_else_is_not_there(visit: Callable[..., Visitor]) -> None:
    page = visit("newcomer").go("/clips/video_0003", ".empty")
    assert "No such clip" in page.inner_text(".empty")


def test_a_key_is_shown_once(visit: Callable[..., Visitor]) -> None:
    page = visit("creator").go("/account", ".key")
    page.fill("#name", "notebook two")
    page.get_by_role("button", name="Make a key").click()
    secret = page.locator("#new-secret")
    secret.wait_for()
    assert secret.inner_text().startswith("zk_77b2")
    page.reload()
    page.locator(".key", has_text="notebook two").wait_for()
    assert page.locator("#new-secret").count() == 0


def test_a_moderator_clears_the_queue_by_keys_alone(visit: Callable[..., Visitor]) -> None:
    visitor = visit("moderator")
    page = visitor.go("/moderation", ".case")
    page.wait_for_function("document.documentElement.dataset.ready !== undefined")
    page.wait_for_selector(".evidence-screen.blurred")
    page.keyboard.press(" ")
    page.wait_for_selector(".evidence-screen:not(.blurred)")
    waiting = page.locator(".case").count()
    page.keyboard.press("n")
    page.keyboard.type("seen before")
    page.keyboard.press("Tab")
    page.keyboard.press("b")
    page.wait_for_function(f"document.querySelectorAll('.case').length === {waiting - 1}")
    page.wait_for_selector(".evidence-screen.blurred")
    assert page.input_value("#note") == ""
    page.keyboard.press("a")
    page.wait_for_function(f"document.querySelectorAll('.case').length === {waiting - 2}")
    page.keyboard.press("z")
    page.wait_for_function(f"document.querySelectorAll('.case').length === {waiting - 1}")
    assert visitor.complaints == []


def test_a_creator_has_no_way_into_moderation(visit: Callable[..., Visitor]) -> None:
    page = visit("creator").go("/moderation", ".composer")
    assert page.locator(".case").count() == 0
    assert page.get_by_role("link", name="Moderation").count() == 0
