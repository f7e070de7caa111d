"""The gallery: found by words, filtered by chips, worked by keys, and as long as it was after a deletion."""

import io
from collections.abc import Callable

import httpx
import pytest
from PIL import Image

from tests.ui.conftest import Visitor

pytestmark = pytest.mark.browser


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
    page.get_by_text("No clip matches these words").wait_for()
    page.get_by_role("button", name="Show ready clips").click()
    page.wait_for_selector("[data-tile]")


def test_more_clips_come_when_asked_for(visit: Callable[..., Visitor]) -> None:
    page = visit("collector").go("/gallery", ".wall [data-tile]")
    before = page.locator("[data-tile]").count()
    page.get_by_role("button", name="Load more").click()
    page.wait_for_function(f"document.querySelectorAll('[data-tile]').length > {before}")


def test_arrows_go_to_the_tile_beside_and_below(visit: Callable[..., Visitor]) -> None:
    page = visit("creator").go("/gallery", ".wall [data-tile]")
    page.wait_for_selector("z-wall[data-laid]")
    page.wait_for_function("document.documentElement.dataset.ready !== undefined")
    page.locator("[data-tile-link]").first.focus()
    page.keyboard.press("ArrowRight")
    focused = "document.activeElement.closest('[data-tile]')"
    assert page.evaluate(f"{focused} === document.querySelectorAll('[data-tile]')[1]")
    top = page.evaluate(f"{focused}.offsetTop")
    page.keyboard.press("ArrowDown")
    below = page.evaluate(f"{focused}.offsetTop")
    assert below > top
    page.keyboard.press("ArrowUp")
    assert page.evaluate(f"{focused}.offsetTop") == top


def test_rows_are_full_and_the_last_is_as_high_as_the_others(visit: Callable[..., Visitor]) -> None:
    page = visit("creator").go("/gallery", "z-wall[data-laid]")
    rows = """() => {
      const wall = document.querySelector("z-wall");
      const rows = new Map();
      for (const tile of wall.children) {
        const box = tile.getBoundingClientRect();
        const row = rows.get(Math.round(box.top)) ?? { height: box.height, right: 0 };
        row.right = Math.max(row.right, box.right);
        rows.set(Math.round(box.top), row);
      }
      return [[...rows.values()].map((row) => [row.height, row.right]), wall.getBoundingClientRect().right];
    }"""
    found, edge = page.evaluate(rows)
    assert len(found) > 2
    assert all(abs(right - edge) < 2 for _, right in found[:-1])
    assert abs(found[-1][0] - found[-2][0]) < 1 or found[-1][1] == pytest.approx(edge, abs=2)


def test_few_results_are_as_large_as_many(visit: Callable[..., Visitor]) -> None:
    page = visit("creator").go("/gallery", "z-wall[data-laid]")
    usual = page.evaluate("document.querySelector('[data-tile]').offsetHeight")
    page.fill("[data-search]", "black triangle")
    page.wait_for_function("document.querySelectorAll('[data-tile]').length === 1")
    one = page.evaluate("document.querySelector('[data-tile]').offsetHeight")
    assert 0.7 < one / usual < 1.4


def test_the_address_says_what_is_filtered_and_searched(visit: Callable[..., Visitor]) -> None:
    visitor = visit("creator")
    page = visitor.go("/gallery", ".wall [data-tile]")
    page.get_by_role("button", name="Favourites").click()
    page.wait_for_url("**/gallery?show=favourites")
    page.fill("[data-search]", "star")
    page.wait_for_url("**/gallery?show=favourites&q=star")
    page.reload()
    page.wait_for_selector("[data-tile]")
    assert page.get_by_role("button", name="Favourites").get_attribute("aria-pressed") == "true"
    page.wait_for_function("document.querySelector('[data-search]').value === 'star'")
    assert all("star" in words for words in page.locator(".tile-prompt").all_inner_texts())
    page.locator("[data-tile-link]").first.click()
    page.wait_for_url("**/clips/**")
    page.go_back()
    page.wait_for_url("**/gallery?show=favourites&q=star")
    page.wait_for_selector("[data-tile]")
    assert visitor.complaints == []


def test_blocked_is_not_mixed_with_failed_and_cancelled(visit: Callable[..., Visitor]) -> None:
    page = visit("creator").go("/gallery?show=blocked", ".withheld")
    assert page.locator(".withheld-label").all_inner_texts() == ["Not allowed here"]
    page.get_by_role("button", name="Failed or cancelled").click()
    page.locator(".withheld", has_text="Cancelled").wait_for()
    assert set(page.locator(".withheld-label").all_inner_texts()) == {"Cancelled", "Failed"}
    icons = page.locator(".withheld use").evaluate_all("all => all.map((each) => each.getAttribute('href'))")
    assert set(icons) == {"/icons.svg#stop", "/icons.svg#warning"}


def test_a_deletion_leaves_the_wall_as_far_as_it_was_read(visit: Callable[..., Visitor], served: str) -> None:
    page = visit("collector").go("/gallery", ".wall [data-tile]")
    page.get_by_role("button", name="Load more").click()
    page.wait_for_function("document.querySelectorAll('[data-tile]').length > 55")
    before = page.locator("[data-tile]").count()
    for index in (0, 1):
        page.locator("[data-verb=select]").nth(index).dispatch_event("click")
    page.locator(".selection", has_text="2 selected").wait_for()
    page.locator(".selection").get_by_role("button", name="Delete").click()
    page.locator("#delete-clips").get_by_role("button", name="Delete").click()
    page.locator(".toast", has_text="2 clips deleted").wait_for()
    page.wait_for_function(f"document.querySelectorAll('[data-tile]').length === {before - 2}")


def test_a_finished_clip_hangs_there_at_once(visit: Callable[..., Visitor], served: str) -> None:
    page = visit("collector").go("/gallery", ".wall [data-tile]")
    page.evaluate("window.same = true")
    made = httpx.post(f"{served}/fake/make/acc_6").json()["id"]
    httpx.post(f"{served}/fake/finish/{made}").raise_for_status()
    page.wait_for_function(f"document.querySelector('[data-tile]').dataset.tile === '{made}'")
    assert page.evaluate("window.same")
    assert page.locator(".toast").count() == 0


def test_a_tile_with_the_focus_is_ringed_over_its_picture(visit: Callable[..., Visitor]) -> None:
    page = visit("creator", color_scheme="dark", reduced_motion="reduce").go("/gallery", "z-wall[data-laid]")
    page.wait_for_function("document.documentElement.dataset.ready !== undefined")
    page.keyboard.press("j")
    page.wait_for_function("document.querySelector('[data-tile] img').complete")
    cool = page.evaluate(
        """() => {
          const probe = document.body.appendChild(document.createElement("i"));
          probe.style.color = "var(--cool)";
          return getComputedStyle(probe).color.match(/[0-9]+/g).slice(0, 3).map(Number);
        }"""
    )
    picture = Image.open(io.BytesIO(page.locator("[data-tile]").first.screenshot())).convert("RGB")
    middle = picture.height // 2
    for at in ((1, middle), (picture.width - 2, middle), (picture.width // 2, 1)):
        found = picture.getpixel(at)
        assert isinstance(found, tuple)
        assert all(abs(got - wanted) < 16 for got, wanted in zip(found, cool, strict=True)), (at, found)


@pytest.mark.parametrize("width", [1440, 390])
def test_what_a_tile_says_is_not_under_its_buttons(visit: Callable[..., Visitor], width: int) -> None:
    page = visit("creator", width=width, reduced_motion="reduce").go("/gallery", "z-wall[data-laid]")
    tiles = page.locator("[data-tile]")
    for index in range(6):
        tiles.nth(index).hover()
        collide = tiles.nth(index).evaluate(
            """(tile) => {
              const boxes = (query) => [...tile.querySelectorAll(query)]
                .map((e) => e.getBoundingClientRect()).filter((box) => box.width && box.height);
              const spilt = [...tile.querySelectorAll(".tile-facts")].some((e) => e.offsetHeight > 20);
              return spilt || boxes(".tile-words p").some((words) =>
                words.left < tile.getBoundingClientRect().left || boxes(".tile-actions .icon-button").some((button) =>
                  words.top < button.bottom && words.left < button.right && button.left < words.right));
            }"""
        )
        assert not collide, f"tile {index}"


def test_a_finger_opens_a_tile_wherever_it_taps_and_selects_once_asked_to(
    visit: Callable[..., Visitor],
) -> None:
    visitor = visit("creator", width=390, height=844, has_touch=True, is_mobile=True)
    page = visitor.go("/gallery", "z-wall[data-laid]")
    page.wait_for_function("document.documentElement.dataset.ready !== undefined")
    first = page.locator("[data-tile]").first
    opened = first.get_attribute("data-tile")
    first.tap(position={"x": 14, "y": 14})
    page.wait_for_url(f"**/clips/{opened}")
    page.go_back()
    page.wait_for_selector("z-wall[data-laid]")
    page.get_by_role("button", name="Select", exact=True).tap()
    for index in (0, 1):
        page.locator("[data-tile]").nth(index).tap()
    page.locator(".selection", has_text="2 selected").wait_for()
    assert page.locator(".tile-selected").count() == 2
    page.locator("[data-tile]").first.tap(position={"x": 14, "y": 14})
    page.locator(".selection", has_text="1 selected").wait_for()
    page.get_by_role("button", name="Done").tap()
    page.wait_for_function("!document.querySelector('.selection, .tile-selected')")
    page.locator("[data-tile]").nth(1).tap()
    page.wait_for_url("**/clips/**")
    assert visitor.complaints == []


def test_keys_act_on_the_selection_before_the_tile_with_the_focus(visit: Callable[..., Visitor]) -> None:
    page = visit("collector").go("/gallery", "z-wall[data-laid]")
    page.wait_for_function("document.documentElement.dataset.ready !== undefined")
    for _ in range(2):
        page.keyboard.press("j")
        page.keyboard.press("x")
    page.locator(".selection", has_text="2 selected").wait_for()
    page.keyboard.press("j")
    page.keyboard.press("d")
    page.locator("#delete-clips", has_text="Delete 2 clips?").wait_for()
    page.keyboard.press("Escape")
    page.locator(".selection").get_by_role("button", name="Clear the selection").click()
    page.locator(".selection").wait_for(state="detached")
    page.locator("[data-tile-link]").nth(2).focus()
    page.keyboard.press("d")
    page.locator("#delete-clips", has_text="Delete this clip?").wait_for()


FOCUSED = "document.activeElement.closest('[data-tile]')?.dataset.tile"


def test_the_last_page_takes_the_focus_to_its_first_clip(visit: Callable[..., Visitor]) -> None:
    page = visit("collector").go("/gallery", "z-wall[data-laid]")
    before = page.locator("[data-tile]").count()
    page.get_by_role("button", name="Load more").press("Enter")
    page.wait_for_function(f"document.querySelectorAll('[data-tile]').length > {before}")
    assert page.get_by_role("button", name="Load more").count() == 0
    first_new = page.locator("[data-tile]").nth(before).get_attribute("data-tile")
    page.wait_for_function(f"{FOCUSED} === '{first_new}'")


def test_a_deletion_by_keys_goes_on_with_the_clip_beside(visit: Callable[..., Visitor]) -> None:
    page = visit("collector").go("/gallery?q=black%20triangle", "z-wall[data-laid]")
    page.wait_for_function("document.documentElement.dataset.ready !== undefined")
    left = page.locator("[data-tile]").evaluate_all("all => all.map((tile) => tile.dataset.tile)")
    assert len(left) == 3
    page.keyboard.press("j")
    for beside in (left[1], left[1]):
        page.keyboard.press("d")
        page.locator("#delete-clips").get_by_role("button", name="Delete").press("Enter")
        page.wait_for_function(f"{FOCUSED} === '{beside}'")
        page.keyboard.press("j")


def test_a_focus_that_a_press_left_plays_nothing(visit: Callable[..., Visitor]) -> None:
    page = visit("collector").go("/gallery", "z-wall[data-laid]")
    page.wait_for_function("document.documentElement.dataset.ready !== undefined")
    tile = page.locator("[data-tile]").nth(2)
    tile.hover()
    tile.locator("[data-verb=favourite]").click()
    tile.locator("video").wait_for(state="attached")
    page.mouse.move(5, 5)
    page.wait_for_function("!document.querySelector('z-clip video')")


def test_a_clip_deleted_on_its_page_is_said_to_be_on_the_wall(visit: Callable[..., Visitor]) -> None:
    page = visit("collector").go("/gallery", "z-wall[data-laid]")
    ids = page.locator("[data-tile]").evaluate_all("all => all.map((tile) => tile.dataset.tile)")
    page.locator("[data-tile-link]").nth(5).click()
    page.wait_for_selector("z-player video")
    page.keyboard.press("d")
    page.locator("#delete-clip").get_by_role("button", name="Delete").press("Enter")
    page.wait_for_selector("z-wall[data-laid]")
    page.locator(".toast", has_text="Deleted").wait_for()
    page.wait_for_function(f"{FOCUSED} === '{ids[6]}'")
    page.get_by_role("link", name="Create").click()
    page.wait_for_selector(".composer")
    page.go_back()
    page.wait_for_selector("z-wall[data-laid]")
    assert page.locator(".toast").count() == 0


def test_a_clips_page_lists_its_keys_and_belongs_to_the_gallery(visit: Callable[..., Visitor]) -> None:
    page = visit("creator").go("/clips/video_0001", "z-player video")
    page.wait_for_function("document.documentElement.dataset.ready !== undefined")
    page.keyboard.press("?")
    page.locator("#keys-help", has_text="one frame back, forward").wait_for()
    assert page.locator(".rail-place[aria-current]").all_inner_texts() == ["Gallery"]


def test_parameters_read_as_elsewhere_and_are_copied_as_programs_write_them(
    visit: Callable[..., Visitor],
) -> None:
    page = visit("creator", permissions=["clipboard-read", "clipboard-write"]).go(
        "/clips/video_0001", "z-player video"
    )
    page.wait_for_function("document.documentElement.dataset.ready !== undefined")
    for name, shown, copied in (("Model", "Mini", "mini"), ("Size", "448 × 256", "448x256")):
        row = page.locator(".param", has=page.locator("dt", has_text=name))
        assert row.locator("dd").inner_text() == shown
        row.get_by_role("button", name=f"Copy {name}").click()
        page.locator(".toast", has_text=f"{name} copied").wait_for()
        assert page.evaluate("navigator.clipboard.readText()") == copied


def test_an_empty_wall_tells_a_finger_to_open_and_a_pointer_to_point(visit: Callable[..., Visitor]) -> None:
    page = visit("newcomer", width=390, height=844, has_touch=True, is_mobile=True).go("/gallery", ".empty")
    assert "Point" not in page.locator(".empty").inner_text()
    page = visit("newcomer").go("/gallery", ".empty")
    assert "Point at one and it plays" in page.locator(".empty").inner_text()


@pytest.mark.parametrize("way", ["the browser's back", "Escape", "Escape after a neighbour"])
def test_who_comes_back_from_a_clip_is_where_it_was_opened(visit: Callable[..., Visitor], way: str) -> None:
    page = visit("collector", height=700).go("/gallery?q=star", ".wall [data-tile]")
    page.goto(page.url.replace("?q=star", ""))
    page.get_by_role("button", name="Load more").click()
    page.wait_for_function("document.querySelectorAll('[data-tile]').length > 40")
    page.wait_for_function("document.documentElement.dataset.ready !== undefined")
    link = page.locator("[data-tile-link]").nth(50)
    tile = link.evaluate("(link) => link.closest('[data-tile]').dataset.tile")
    link.scroll_into_view_if_needed()
    page.wait_for_function("document.querySelector('z-wall[data-laid]')")
    scrolled = page.evaluate("scrollY")
    assert scrolled > 200
    link.click()
    page.wait_for_selector("z-player video")
    page.wait_for_function("scrollY === 0")
    if way == "Escape after a neighbour":
        page.keyboard.press("ArrowRight")
        page.wait_for_function(f"!location.pathname.endsWith('{tile}')")
        page.wait_for_selector("z-player video")
    if way == "the browser's back":
        page.go_back()
    else:
        page.keyboard.press("Escape")
    page.wait_for_url("**/gallery")
    page.wait_for_function(f"document.activeElement.closest('[data-tile]')?.dataset.tile === '{tile}'")
    assert abs(page.evaluate("scrollY") - scrolled) < 2


def test_the_list_of_keys_gives_the_focus_back_also_where_it_was_is_gone(
    visit: Callable[..., Visitor],
) -> None:
    page = visit("creator").go("/gallery", ".wall [data-tile]")
    page.wait_for_function("document.documentElement.dataset.ready !== undefined")
    page.evaluate("document.querySelector('.stage-head').append(document.createElement('button'))")
    page.locator(".stage-head button").last.focus()
    page.keyboard.press("?")
    page.locator("#keys-help").wait_for()
    page.evaluate("document.querySelector('.stage-head button:last-child').remove()")
    page.keyboard.press("Escape")
    page.wait_for_function(
        "document.activeElement !== document.body && document.activeElement.closest('#stage')"
    )
    assert page.url.endswith("/gallery")
