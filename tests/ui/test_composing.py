"""Composing clips and playing them, by mouse and by keys."""

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Route

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
    page.locator("#now", has_text="a green star growing").wait_for()
    assert page.input_value("#prompt") == ""
    page.reload()
    page.wait_for_selector(".choice")
    page.locator("#now").wait_for()
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


def test_a_refusal_stays_until_the_words_change_and_what_the_model_leaves_out_is_not_said_beside_it(
    visit: Callable[..., Visitor],
) -> None:
    visitor = visit("newcomer")
    with visitor.page.expect_websocket() as opened:
        page = visitor.go("/", ".choice")
    page.locator(".price", has_text="2 credits").wait_for()
    refusal = page.locator(".prompt-room [role=alert]", has_text="not charged")
    # Sent before the page asked about the words: that question comes after the refusal.
    with opened.value.expect_event("framesent", lambda frame: "read_words" in str(frame)):
        page.fill("#prompt", "gore and blood of a corpse")
        page.locator("#prompt").press("Control+Enter")
        refusal.wait_for()
    page.locator("details.more summary").click()
    page.fill("#steps", "3000")
    page.locator(".field-error", has_text="from 4 to 400").wait_for()
    assert refusal.is_visible()
    assert page.inner_text(".prompt-unknown") == ""
    page.fill("#prompt", "a pink corpse")
    refusal.wait_for(state="detached")
    page.locator(".prompt-unknown", has_text="pink, corpse").wait_for()
    page.fill("#prompt", "")
    page.fill("#steps", "")


def test_what_is_typed_while_a_prompt_is_on_its_way_is_the_next_one(visit: Callable[..., Visitor]) -> None:
    page = visit("sender").go("/", ".choice")
    page.locator(".price", has_text="credits").wait_for()
    page.locator("details.more summary").click()
    page.fill("#prompt", "a yellow circle growing")
    page.fill("#seed", "7")
    page.evaluate(
        """() => {
          const { prompt, seed } = document.querySelector("form[data-composer]").elements;
          prompt.form.requestSubmit();
          prompt.value = "the next idea";
          prompt.dispatchEvent(new Event("input", { bubbles: true }));
        }"""
    )
    page.locator("#now, .behind", has_text="a yellow circle growing").first.wait_for()
    page.wait_for_function("document.querySelector('#seed').value === ''")
    assert page.input_value("#prompt") == "the next idea"
    page.fill("#prompt", "")


def test_a_draft_that_was_sent_is_not_there_again_for_who_left_before_the_answer(
    visit: Callable[..., Visitor],
) -> None:
    page = visit("sender").go("/", ".choice")
    page.locator(".price", has_text="credits").wait_for()
    page.wait_for_function(
        "performance.getEntriesByType('resource').some((e) => e.name.includes('_progress_'))"
    )
    page.fill("#prompt", "a green triangle growing")
    page.context.set_offline(True)
    page.locator(".connection-lost").wait_for(state="attached")
    page.get_by_role("button", name="Generate").click()
    page.get_by_role("link", name="In progress").click()
    page.get_by_role("heading", name="In progress").wait_for()
    page.context.set_offline(False)
    page.locator(".strip", has_text="a green triangle growing").wait_for(timeout=60_000)
    page.get_by_role("link", name="Create").click()
    page.locator(".price", has_text="credits").wait_for()
    page.wait_for_function("document.querySelector('[name=idempotency_key]').value !== ''")
    assert page.input_value("#prompt") == ""


def test_another_seed_takes_the_place_of_a_wrong_one_and_there_is_a_price_again(
    visit: Callable[..., Visitor],
) -> None:
    page = visit("newcomer").go("/", ".choice")
    page.locator("details.more summary").click()
    page.fill("#seed", "many")
    page.locator(".field-error", has_text="whole number").wait_for()
    page.get_by_role("button", name="Another seed").click()
    page.locator(".field-error", has_text="whole number").wait_for(state="detached")
    page.locator(".price", has_text="2 credits").wait_for()
    assert page.input_value("#seed").isdecimal()
    page.fill("#seed", "")


def test_the_prompts_focus_is_seen_on_the_composer(visit: Callable[..., Visitor]) -> None:
    page = visit("creator").go("/", ".choice")
    ring = "getComputedStyle(document.querySelector('.composer')).outlineStyle"
    assert page.evaluate(ring) == "none"
    page.focus("#prompt")
    assert page.evaluate(ring) == "solid"


def test_who_does_not_run_the_studio_is_not_led_to_its_shell(visit: Callable[..., Visitor]) -> None:
    page = visit("newcomer").go("/", ".knows-words")
    assert "whoever runs this studio" in page.inner_text(".knows-words")
    assert page.locator(".knows-words a").count() == 0
    page = visit("moderator").go("/", ".knows-words")
    page.get_by_role("link", name="connect a real model").wait_for()


def test_an_empty_prompt_is_not_sent(visit: Callable[..., Visitor]) -> None:
    page = visit("creator").go("/", ".choice")
    page.get_by_role("button", name="Generate").click()
    page.locator(".prompt-room [role=alert]").wait_for()
    page.wait_for_function("document.activeElement.id === 'prompt'")


def test_an_image_is_shown_sent_and_taken_away(visit: Callable[..., Visitor], tmp_path: Path) -> None:
    picture = tmp_path / "first.png"
    Image.effect_noise((64, 64), 80).convert("RGB").save(picture)
    page = visit("creator").go("/", "z-drop")
    page.set_input_files("z-drop input[type=file]", picture)
    page.wait_for_selector("z-drop[data-state=there]")
    assert page.input_value("z-drop [name=image_id]") == "upload_1"
    page.get_by_role("button", name="Remove the image").click()
    assert page.input_value("z-drop [name=image_id]") == ""


@pytest.mark.parametrize("width", [1440, 390])
@pytest.mark.parametrize("size", [(256, 256), (256, 448), (448, 256)])
def test_a_first_frame_is_shown_whole(
    visit: Callable[..., Visitor], tmp_path: Path, size: tuple[int, int], width: int
) -> None:
    picture = tmp_path / "first.png"
    Image.new("RGB", size, "teal").save(picture)
    page = visit("creator", width=width).go("/", "z-drop")
    page.set_input_files("z-drop input[type=file]", picture)
    page.wait_for_selector("z-drop[data-state=there]")
    shown = page.locator("z-drop img").bounding_box()
    assert shown is not None
    assert shown["width"] / shown["height"] == pytest.approx(size[0] / size[1], rel=0.03)
    assert 70 <= shown["height"] <= 140, "neither too small to tell nor in the way of the form"


def test_a_file_that_is_no_picture_is_refused_in_words(visit: Callable[..., Visitor], tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("not a picture")
    page = visit("creator").go("/", "z-drop")
    page.set_input_files("z-drop input[type=file]", text)
    page.get_by_text("PNG, JPEG or WebP").wait_for()


def test_a_file_that_only_calls_itself_a_picture_is_not_drawn(
    visit: Callable[..., Visitor], tmp_path: Path
) -> None:
    text = tmp_path / "notes.png"
    text.write_text("not a picture")
    page = visit("creator").go("/", "z-drop")
    page.set_input_files("z-drop input[type=file]", text)
    page.locator(".drop-note", has_text="not a picture").wait_for()
    page.locator("z-drop img").wait_for(state="hidden")
    page.get_by_text("First frame").wait_for()


def _picture(folder: Path) -> Path:
    picture = folder / "first.png"
    Image.effect_noise((64, 64), 80).convert("RGB").save(picture)
    return picture


def test_what_is_sent_while_its_image_is_on_its_way_waits_and_goes_with_it(
    visit: Callable[..., Visitor], tmp_path: Path
) -> None:
    visitor = visit("drafter")
    page = visitor.go("/", "z-drop")
    page.locator(".price", has_text="credits").wait_for()
    held: list[Route] = []
    page.route("**/uploads", lambda route: held.append(route))
    page.set_input_files("z-drop input[type=file]", _picture(tmp_path))
    page.wait_for_selector("z-drop[data-state=sending]")
    page.fill("#prompt", "a white square with an image")
    page.locator("#prompt").press("Control+Enter")
    page.get_by_role("button", name="Sending the image…").wait_for()
    assert page.input_value("#prompt") == "a white square with an image"
    held[0].continue_()
    page.locator("#now, .behind", has_text="a white square with an image").first.wait_for()
    page.get_by_role("button", name="Generate").wait_for()
    visitor.go("/progress", ".strip")
    page.locator(".strip", has_text="from upload_1").wait_for()
    assert visitor.complaints == []


def test_nothing_is_sent_without_the_image_that_did_not_arrive(
    visit: Callable[..., Visitor], tmp_path: Path
) -> None:
    page = visit("poor").go("/", "z-drop")
    page.locator(".price", has_text="credits").wait_for()
    held: list[Route] = []
    page.route("**/uploads", lambda route: held.append(route))
    page.set_input_files("z-drop input[type=file]", _picture(tmp_path))
    page.wait_for_selector("z-drop[data-state=sending]")
    page.fill("#prompt", "a purple star with an image")
    page.get_by_role("button", name="Generate").click()
    page.get_by_role("button", name="Sending the image…").wait_for()
    held[0].abort()
    page.locator(".drop-note", has_text="did not arrive").wait_for()
    page.get_by_role("button", name="Generate").click()
    page.locator(".drop-note", has_text="nothing was sent").wait_for()
    assert page.input_value("#prompt") == "a purple star with an image"
    assert page.locator(".live, .behind").get_by_text("a purple star").count() == 0
    page.get_by_role("button", name="Remove the image").click()
    page.fill("#prompt", "")


def test_an_image_that_did_not_arrive_is_tried_again_by_a_press_and_one_that_was_judged_is_not(
    visit: Callable[..., Visitor], tmp_path: Path
) -> None:
    page = visit("newcomer").go("/", "z-drop")
    again = page.locator("z-drop").get_by_role("button", name="Try again")
    answers = [lambda route: route.abort(), lambda route: route.fulfill(status=503, json={})]
    page.route("**/uploads", lambda route: answers.pop(0)(route) if answers else route.continue_())
    page.set_input_files("z-drop input[type=file]", _picture(tmp_path))
    page.locator(".drop-note", has_text="did not arrive").wait_for()
    again.click()
    page.locator(".drop-note", has_text="was not accepted").wait_for()
    again.click()
    page.wait_for_selector("z-drop[data-state=there]")
    assert again.is_hidden()
    assert page.evaluate("document.activeElement.ariaLabel") == "Remove the image"
    text = tmp_path / "notes.png"
    text.write_text("not a picture")
    page.set_input_files("z-drop input[type=file]", text)
    page.locator(".drop-note", has_text="not a picture").wait_for()
    assert again.is_hidden()
    page.get_by_role("button", name="Remove the image").click()


def test_each_wrong_setting_is_told_beside_its_field_while_one_types_and_there_is_no_price(
    visit: Callable[..., Visitor],
) -> None:
    page = visit("creator").go("/", ".choice")
    page.locator(".price", has_text="2 credits").wait_for()
    page.locator("details.more summary").click()
    page.fill("#steps", "3000")
    page.fill("#seed", "many")
    page.locator(".field", has=page.locator("#steps")).locator(".field-error").wait_for()
    page.locator(".field", has=page.locator("#seed")).locator(".field-error").wait_for()
    assert page.get_attribute("#seed", "aria-invalid") == "true"
    assert page.inner_text(".price") == ""
    page.fill("#steps", "80")
    page.locator(".field", has=page.locator("#steps")).locator(".field-error").wait_for(state="detached")
    assert page.inner_text(".price") == ""
    page.fill("#seed", "7")
    page.locator(".price", has_text="10 credits").wait_for()


def test_a_seed_is_for_one_job_and_the_other_settings_stay(visit: Callable[..., Visitor]) -> None:
    page = visit("sender").go("/", ".choice")
    page.locator("details.more summary").click()
    page.fill("#steps", "40")
    page.fill("#seed", "42")
    page.fill("#prompt", "a black circle growing")
    page.get_by_role("button", name="Generate").click()
    page.locator("#now", has_text="a black circle growing").wait_for()
    page.wait_for_function("document.querySelector('#prompt').value === ''")
    assert page.input_value("#seed") == ""
    assert page.text_content("details.more summary") == "More · 40 steps"
    page.fill("#steps", "")


def test_settings_of_a_clip_fill_the_composer(visit: Callable[..., Visitor]) -> None:
    page = visit("creator").go("/?from=video_0001", ".choice")
    page.wait_for_function("document.querySelector('#seed').value === '918273645'")
    assert page.input_value("#steps") == "24"
    assert page.locator("input[name=size][value='448x256']").is_checked()


def test_settings_bring_the_image_and_the_guidance_of_the_clip(visit: Callable[..., Visitor]) -> None:
    page = visit("creator").go("/?from=video_0002", "z-drop[data-state=there]")
    assert page.input_value("z-drop [name=image_id]") == "upload_1"
    assert page.evaluate("document.querySelector('z-drop img').naturalWidth > 0")
    assert page.input_value("#guidance") == "2.5"
    assert "guidance 2.5" in str(page.text_content("details.more summary"))
    page.goto(page.url.replace("video_0002", "video_0001"))
    page.wait_for_function("document.querySelector('#seed')?.value === '918273645'")
    assert page.input_value("z-drop [name=image_id]") == ""


def test_an_image_that_is_not_kept_any_more_is_to_be_given_again(visit: Callable[..., Visitor]) -> None:
    page = visit("creator").go("/?from=video_0004", "z-drop[data-state=failed]")
    page.locator(".drop-note", has_text="not kept any more").wait_for()
    page.get_by_role("button", name="Generate").click()
    page.locator(".drop-note", has_text="nothing was sent").wait_for()
    page.get_by_role("button", name="Remove the image").click()
    assert page.locator("z-drop[data-state]").count() == 0


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
    page.get_by_role("button", name="Create key").click()
    secret = page.locator("#new-secret")
    secret.wait_for()
    assert secret.inner_text().startswith("zk_77b2")
    page.reload()
    page.locator(".key", has_text="notebook two").wait_for()
    page.locator("#new-secret").wait_for(state="detached")


def test_who_is_done_with_a_new_key_goes_on_where_it_was_made(visit: Callable[..., Visitor]) -> None:
    page = visit("creator").go("/account", ".key")
    page.fill("#name", "notebook three")
    page.get_by_role("button", name="Create key").click()
    page.locator("#new-secret").wait_for()
    page.get_by_role("button", name="Done").press("Enter")
    page.wait_for_function("document.activeElement.textContent === 'Create key'")


def test_a_word_of_each_kind_makes_the_models_sentence(visit: Callable[..., Visitor]) -> None:
    page = visit("newcomer").go("/", ".word")
    for slot, word in (
        ("shape", "star"),
        ("colour", "orange"),
        ("motion", "growing"),
        ("background", "blue"),
    ):
        page.locator(f"[data-slot={slot}][data-word='{word}']").click()
    assert page.input_value("#prompt") == "an orange star growing on a blue background"
    assert page.locator(".word[aria-pressed=true]").count() == 4
    page.locator("[data-slot=colour][data-word=orange]").click()
    assert page.input_value("#prompt") == "a star growing on a blue background"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.dataset.word") == "white"


def test_words_that_are_typed_are_found_again_among_the_chips(visit: Callable[..., Visitor]) -> None:
    page = visit("newcomer").go("/", ".word")
    page.fill("#prompt", "a blue square moving left on a red background")
    pressed = """[...document.querySelectorAll(".word[aria-pressed=true]")]
      .map((e) => e.dataset.slot + ":" + e.dataset.word)"""
    assert page.evaluate(pressed) == ["shape:square", "colour:blue", "motion:moving left", "background:red"]


def test_words_that_the_model_does_not_know_are_named_while_one_types(visit: Callable[..., Visitor]) -> None:
    page = visit("newcomer").go("/", ".word")
    page.fill("#prompt", "a pink elephant dancing on a blue background")
    page.locator(".prompt-unknown", has_text="doesn’t know: pink, elephant, dancing").wait_for()
    page.fill("#prompt", "a red circle on a blue background")
    page.wait_for_function("document.querySelector('.prompt-unknown').textContent === ''")


def test_a_wrong_setting_is_told_once_and_by_the_name_on_the_page(visit: Callable[..., Visitor]) -> None:
    page = visit("creator").go("/", ".choice")
    page.fill("#prompt", "a red circle")
    page.locator("details.more summary").click()
    page.fill("#steps", "3000")
    page.get_by_role("button", name="Generate").click()
    error = page.locator(".field-error", has_text="from 4 to 400")
    error.wait_for()
    assert "num_inference_steps" not in error.inner_text()
    assert page.evaluate("document.querySelector('form[data-composer]').noValidate")


def test_what_is_set_behind_more_is_seen_without_opening_it(visit: Callable[..., Visitor]) -> None:
    page = visit("newcomer").go("/", ".choice")
    page.locator("details.more summary").click()
    page.fill("#steps", "40")
    page.fill("#seed", "7")
    page.locator("details.more summary").click()
    assert page.text_content("details.more summary") == "More · 40 steps · seed 7"
    page.reload()
    page.wait_for_function("document.querySelector('[data-more-set]')?.textContent.includes('40 steps')")


def test_the_price_is_asked_for_again_when_credits_were_set_aside(visit: Callable[..., Visitor]) -> None:
    page = visit("poor").go("/", ".choice")
    page.locator(".price", has_text="2 credits").wait_for()
    page.fill("#prompt", "a red circle")
    page.get_by_role("button", name="Generate").click()
    page.locator("#now", has_text="a red circle").wait_for()
    page.locator(".button-generate:disabled").wait_for()
    page.get_by_text("and you have 1").wait_for()


def test_sending_on_a_phone_shows_the_job_and_no_keyboard(visit: Callable[..., Visitor]) -> None:
    page = visit("sender", width=390, height=844, has_touch=True, is_mobile=True).go("/", ".choice")
    page.fill("#prompt", "a blue star growing")
    page.get_by_role("button", name="Generate").click()
    page.locator("#now", has_text="a blue star growing").wait_for()
    page.wait_for_function("document.querySelector('#now').getBoundingClientRect().top < 60")
    assert page.evaluate("document.activeElement.id") != "prompt"


def test_a_clip_is_made_again_with_another_seed(visit: Callable[..., Visitor]) -> None:
    visitor = visit("creator")
    page = visitor.go("/clips/video_0006", "z-player video")
    page.get_by_role("button", name="Again with another seed").click()
    page.wait_for_url("**/clips/video_6*")
    page.locator(".clip-live", has_text="Next in line").wait_for()
    assert page.inner_text("h1") == "a blue square staying still on an orange background"
    assert visitor.complaints == []


def test_a_clips_page_is_named_by_its_prompt_and_leads_to_its_neighbours(
    visit: Callable[..., Visitor],
) -> None:
    page = visit("creator").go("/clips/video_0008", "z-player video")
    page.wait_for_function("document.title === 'a white star shrinking on a blue background · Zoetrope'")
    assert page.get_by_text("a white star shrinking").count() == 1
    page.wait_for_function("document.documentElement.dataset.ready !== undefined")
    page.keyboard.press("ArrowRight")
    page.wait_for_url("**/clips/video_0009")
    page.get_by_role("heading", name="a red square moving down").wait_for()
    page.get_by_role("link", name="Newer clip").click()
    page.wait_for_url("**/clips/video_0008")


def test_what_cannot_be_shown_cannot_be_liked(visit: Callable[..., Visitor]) -> None:
    page = visit("creator").go("/clips/video_9002", ".clip-withheld")
    page.get_by_role("button", name="Delete").first.wait_for()
    assert page.get_by_role("button", name="Favourite").count() == 0
    assert page.get_by_role("button", name="Good").count() == 0


def test_controls_of_a_clip_can_be_hit_with_a_thumb(visit: Callable[..., Visitor]) -> None:
    page = visit("creator", width=390, height=844, has_touch=True).go("/clips/video_0003", "z-player video")
    small = """() => [...document.querySelectorAll("main button, main a[href]")]
      .filter((e) => e.checkVisibility() && e.tabIndex >= 0)
      .map((e) => [e.getBoundingClientRect(), e.outerHTML.slice(0, 80)])
      .filter(([box, html]) => (box.width < 44 || box.height < 44) && !html.includes("copy"))
      .map(([box, html]) => `${box.width} x ${box.height} ${html}`)"""
    assert page.evaluate(small) == []


def test_a_draft_comes_back_however_late_the_scripts_are(visit: Callable[..., Visitor]) -> None:
    visitor = visit("newcomer")
    page = visitor.go("/", ".choice")
    page.fill("#prompt", "a red star")
    held: list[Route] = []
    page.route("**/js/studio.js", lambda route: held.append(route))
    page.reload(wait_until="commit")
    page.locator(".price", has_text="credits").wait_for(state="detached")
    page.wait_for_function("document.querySelector('.choice') && window.zoetrope.early.length > 0")
    assert page.input_value("#prompt") == ""
    held[0].continue_()
    page.wait_for_function("document.querySelector('#prompt').value === 'a red star'")
    page.locator(".price", has_text="2 credits").wait_for()
    page.fill("#prompt", "")


def test_the_latest_clips_end_with_a_whole_row_while_there_are_more(visit: Callable[..., Visitor]) -> None:
    page = visit("collector", width=1440).go("/", "z-wall[data-laid] [data-tile]")
    ends = page.evaluate(
        """() => {
          const shown = [...document.querySelectorAll("z-wall [data-tile]")].filter((tile) => !tile.hidden);
          const rows = Object.groupBy(shown, (tile) => Math.round(tile.getBoundingClientRect().top));
          return Object.values(rows).map((row) => row.at(-1).getBoundingClientRect().right);
        }"""
    )
    assert len(ends) > 1
    assert max(ends) - min(ends) < 2


def test_the_wait_is_read_beside_the_button_on_a_phone(visit: Callable[..., Visitor]) -> None:
    page = visit("creator", width=390, height=844, has_touch=True).go("/", ".price-wait")
    page.evaluate("document.querySelector('.price-wait').textContent = 'ready in about 75 s to 4 min'")
    words = page.locator(".price-wait").bounding_box()
    button = page.get_by_role("button", name="Generate").bounding_box()
    assert words is not None
    assert button is not None
    assert words["x"] + words["width"] <= button["x"]
