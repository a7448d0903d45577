"""The page in a real browser: images, predictions, added classes, errors, and no requests to other hosts."""

import json
import re
import shutil
import subprocess
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Locator, Page, Route, expect

import vlprompt
from tests.helpers.browser import chromium, needs_chromium
from tests.helpers.client import TOKEN, png
from tests.helpers.server import server
from vlprompt import Backbone, Classifier, create_method

pytestmark = needs_chromium

PHONE = {"width": 390, "height": 844}
DESK = {"width": 1280, "height": 900}
RED, BLUE = png((200, 20, 20)), png((20, 20, 200), (300, 40))
Open = Callable[..., Page]


@pytest.fixture(scope="module")
def address(run: Path, backbone: Backbone) -> Iterator[str]:
    with server(vlprompt.load_classifier(run, backbone=backbone)) as started:
        yield started


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def context(browser: Browser, address: str) -> Iterator[BrowserContext]:
    context = browser.new_context(viewport=DESK, reduced_motion="reduce")
    context.grant_permissions(["clipboard-read", "clipboard-write"], origin=address)
    yield context
    context.close()


@pytest.fixture
def open_page(context: BrowserContext) -> Iterator[Open]:
    """Open a page; fail on console messages other than refused requests, and on requests to other servers."""
    said: list[str] = []
    asked: list[str] = []
    homes: list[str] = []

    def open_at(url: str) -> Page:
        homes.append(url)
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("dialog", lambda dialog: said.append(dialog.message))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(url)
        return page

    yield open_at
    assert [line for line in said if not line.startswith("Failed to load resource")] == []
    assert [url for url in asked if not url.startswith((*homes, "data:", "blob:"))] == []


@pytest.fixture
def page(open_page: Open, address: str) -> Page:
    return open_page(f"{address}/")


def transfer(page: Page, name: str, data: bytes) -> object:
    """Return a browser's DataTransfer with a file."""
    return page.evaluate_handle(
        """([name, data]) => {
          const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
          const transfer = new DataTransfer();
          transfer.items.add(new File([bytes], name, { type: "image/png" }));
          return transfer;
        }""",
        [name, b64encode(data).decode()],
    )


def drop(page: Page, name: str, data: bytes) -> Locator:
    """Drop a file on the page; return its card."""
    expect(page.locator("#main")).to_be_visible()
    page.dispatch_event("body", "drop", {"dataTransfer": transfer(page, name, data)})
    return page.locator("#cards > li").filter(has_text=name).first


def choose(page: Page, *files: tuple[str, bytes]) -> None:
    expect(page.locator("#main")).to_be_visible()
    parts = [{"name": name, "mimeType": "image/png", "buffer": data} for name, data in files]
    page.get_by_label("Choose images").set_input_files(parts)  # type: ignore[arg-type]


def labels(ranking: Locator) -> list[str]:
    expect(ranking.locator("li").first).to_be_visible()
    return [text.partition("added")[0] for text in ranking.locator(".label").all_inner_texts()]


def add_class(page: Page, name: str) -> None:
    page.get_by_label("Add a class by name").fill(name)
    page.keyboard.press("Enter")


def test_dropped_image_gets_a_prediction(page: Page, run: Path, backbone: Backbone) -> None:
    expect(page.get_by_text("No images yet.")).to_be_visible()
    card = drop(page, "red.png", RED)
    guess = vlprompt.load_classifier(run, backbone=backbone).predict(Image.open(BytesIO(RED)))[0]
    assert labels(card.locator(".tuned .ranking")) == [label for label, _ in guess.top]
    expect(card.locator(".tuned .share").first).to_have_text(f"{guess.probability:.1%}")
    widths = card.locator(".fill").evaluate_all("(all) => all.map((bar) => parseFloat(bar.style.width))")
    assert widths == pytest.approx([100 * share for _, share in guess.top], abs=0.01)
    expect(card.locator(".latency")).to_contain_text(" ms")
    expect(page.locator("#said")).to_have_text(f"red.png: {guess.label}, {guess.probability:.1%}")
    expect(page.get_by_text("No images yet.")).to_be_hidden()


def test_paste_and_choose(page: Page) -> None:
    choose(page, ("one.png", RED), ("two.png", BLUE))
    expect(page.locator("#cards .rankings:visible")).to_have_count(2)
    page.evaluate(
        "(data) => dispatchEvent(new ClipboardEvent('paste', { clipboardData: data }))",
        transfer(page, "image.png", RED),
    )
    expect(page.locator("#cards h3").first).to_have_text("pasted-1.png")
    expect(page.locator("#cards .rankings:visible")).to_have_count(3)
    page.get_by_role("button", name="Remove two.png").click()
    expect(page.locator("#cards > li")).to_have_count(2)
    page.get_by_role("button", name="Remove all").click()
    expect(page.get_by_text("No images yet.")).to_be_visible()


def test_added_class_enters_the_ranking(page: Page, address: str) -> None:
    card = drop(page, "red.png", RED)
    before = labels(card.locator(".tuned .ranking"))
    add_class(page, "a_zebra")
    expect(card.locator(".tuned li.added .label")).to_contain_text("a zebra")
    after = labels(card.locator(".tuned .ranking"))
    assert sorted(after) == sorted([*before, "a zebra"]) and [name for name in after if name != "a zebra"] == before
    expect(page.locator("#count")).to_have_text("5")
    add_class(page, "A Zebra")
    expect(page.locator("#add-says")).to_have_text("Class “a zebra” already exists.")
    add_class(page, "水火" * 45)
    expect(page.locator("#add-says")).to_have_text("A class name is too long for the model; shorten it.")
    expect(page.locator("#own li")).to_have_count(1)
    assert labels(card.locator(".tuned .ranking")) == after
    page.get_by_role("button", name="Remove the class a zebra").click()
    expect(card.locator(".tuned li")).to_have_count(4)
    assert page.request.get(f"{address}/v1/classes").json()["classes"] == sorted(before)


def test_added_class_is_shown_at_any_rank(page: Page) -> None:
    for number in range(8):
        add_class(page, f"class {number}")
    ranking = drop(page, "red.png", RED).locator(".tuned .ranking")
    expect(ranking.locator("li.added")).to_have_count(8)
    tags = ranking.locator(".beyond .tag").all_inner_texts()
    places = [int(tag.removeprefix("added, ").removesuffix("th")) for tag in tags]
    assert places and places == sorted(places) and set(places) <= set(range(6, 13))
    assert len(labels(ranking)) == 5 + len(places)


def test_added_classes_are_shown_among_hundreds(open_page: Open, run: Path, backbone: Backbone) -> None:
    large = vlprompt.load_classifier(run, backbone=backbone)
    large.add_classes([f"thing {number}" for number in range(300)])
    with server(large) as address:
        page = open_page(f"{address}/")
        for number in range(8):
            add_class(page, f"class {number}")
        ranking = drop(page, "red.png", RED).locator(".tuned .ranking")
        expect(ranking.locator("li.added")).to_have_count(8)
        assert any(int(re.sub(r"\D", "", tag)) > 100 for tag in ranking.locator(".beyond .tag").all_inner_texts())


def test_compare_with_zero_shot(page: Page) -> None:
    card = drop(page, "red.png", RED)
    expect(card.get_by_role("heading", name="Zero-shot")).to_be_hidden()
    page.get_by_role("switch", name="Compare with zero-shot").check()
    tuned, frozen = card.locator(".tuned .ranking"), card.locator(".zero-shot .ranking")
    expect(frozen.locator("li")).to_have_count(4)
    assert sorted(labels(tuned)) == sorted(labels(frozen))
    left, right = tuned.bounding_box(), frozen.bounding_box()
    assert left and right and left["y"] == right["y"] and left["x"] < right["x"], "side by side"
    page.set_viewport_size(PHONE)
    left, right = tuned.bounding_box(), frozen.bounding_box()
    assert left and right and left["y"] == right["y"] and left["x"] < right["x"], "on a phone, too"


def test_errors_are_shown_on_the_card(page: Page) -> None:
    card = drop(page, "notes.png", b"no image")
    said = "This image cannot be read: not an image, or of an unknown format."
    expect(card.get_by_role("alert").get_by_role("paragraph")).to_have_text(said)
    expect(card.get_by_role("button", name="Try again")).to_be_hidden()
    page.route("**/v1/predict", lambda route: route.abort())
    card = drop(page, "red.png", RED)
    expect(card.get_by_role("alert")).to_contain_text("The server does not respond. Is it still running?")
    page.unroute("**/v1/predict")
    card.get_by_role("button", name="Try again").click()
    expect(card.locator(".tuned li")).to_have_count(4)
    expect(card.get_by_role("alert")).to_have_count(0)


def test_page_retries_after_429(page: Page) -> None:
    answers = iter([429, 200])

    def answer(route: object) -> None:
        if next(answers) == 429:
            route.fulfill(status=429, headers={"Retry-After": "1"}, body='{"error": "busy"}')  # type: ignore[attr-defined]
        else:
            route.continue_()  # type: ignore[attr-defined]

    page.route("**/v1/predict", answer)
    expect(drop(page, "red.png", RED).locator(".tuned li")).to_have_count(4)
    assert next(answers, None) is None


def test_names_are_never_html(page: Page) -> None:
    evil = "<img src=x onerror=alert(1)>"
    card = drop(page, f"{evil}.png", RED)
    add_class(page, evil)
    page.get_by_role("switch").check()
    expect(card.locator(".zero-shot li.added .label")).to_contain_text(evil)
    expect(card.locator("h3")).to_have_text(f"{evil}.png")
    expect(page.locator("#own li span").first).to_have_text(evil)
    assert page.locator("img[src=x]").count() == 0
    card.get_by_text("curl", exact=True).click()
    expect(card.locator("code")).to_contain_text("onerror")


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl on this machine")
@pytest.mark.parametrize("name", ["red.png", 'it\'s "a", b; $(touch x).png'])
def test_copied_curl_command_works(page: Page, tmp_path: Path, name: str) -> None:
    for word in ("a cat's face", "@home", "=<x>"):
        add_class(page, word)
    page.get_by_role("switch").check()
    card = drop(page, name, RED)
    expect(card.locator(".zero-shot li")).to_have_count(7)
    card.get_by_text("curl", exact=True).click()
    card.get_by_role("button", name="Copy").click()
    expect(card.get_by_role("button", name="Copied")).to_be_visible()
    command = page.evaluate("navigator.clipboard.readText()")
    (tmp_path / name).write_bytes(RED)
    done = subprocess.run(["sh", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=True)
    result = json.loads(done.stdout)["results"][0]
    assert [rank["label"] for rank in result["top"]] == labels(card.locator(".tuned .ranking"))
    assert [rank["label"] for rank in result["zero_shot"]["top"]] == labels(card.locator(".zero-shot .ranking"))
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_token_unlocks_the_page(open_page: Open, run: Path, backbone: Backbone) -> None:
    with server(vlprompt.load_classifier(run, backbone=backbone), token=TOKEN, editable=True) as address:
        page = open_page(f"{address}/")
        field = page.get_by_label("Token")
        expect(field).to_be_focused()
        expect(page.locator("#main")).to_be_hidden()
        field.fill("another token, which is wrong")
        page.keyboard.press("Enter")
        expect(page.locator("#notice")).to_have_text("Wrong token.")
        field.fill(TOKEN)
        page.keyboard.press("Enter")
        expect(page.locator("#notice")).to_be_hidden()
        expect(page.locator("#files")).to_be_focused()
        card = drop(page, "red.png", RED)
        expect(card.locator(".tuned li")).to_have_count(4)
        expect(card.locator("code")).to_contain_text('"Authorization: Bearer $VLPROMPT_TOKEN"')
        add_class(page, "a zebra")
        page.get_by_role("button", name="Add them for all users").click()
        expect(page.locator("#own li")).to_have_count(0)
        expect(page.get_by_label("Add a class by name")).to_be_focused()
        expect(page.locator("#count")).to_have_text("5")
        page.reload()
        expect(page.locator("#count")).to_have_text("5")


def test_class_bound_prompts_disable_adding(open_page: Open, run: Path, backbone: Backbone) -> None:
    tuned = vlprompt.load_classifier(run, backbone=backbone)
    method = create_method("coop", backbone, tuned.class_names, class_specific=True, n_ctx=2)
    with server(Classifier(tuned.record, method)) as address:
        page = open_page(f"{address}/")
        expect(page.get_by_label("Add a class by name")).to_be_disabled()
        expect(page.locator("#add-says")).to_contain_text("no others can be added")


def test_keyboard(page: Page) -> None:
    expect(page.locator("#main")).to_be_visible()
    reached = []
    for _ in range(7):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.textContent.trim()"))
        if reached[-1] == "compare":
            page.keyboard.press("Space")
    assert reached == ["Skip to the predictions", "API", "files", "compare", "name", "Add", "All classes of this run"]
    expect(page.get_by_role("switch")).to_be_checked()
    choose(page, ("one.png", RED), ("two.png", BLUE))
    expect(page.locator("#cards .rankings:visible")).to_have_count(2)
    page.get_by_role("button", name="Remove two.png").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Remove one.png")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#answers")).to_be_focused()


CONTRASTS = """() => {
  const parts = (color) => color.match(/[\\d.]+/g).map(Number);
  const light = ([red, green, blue]) => [red, green, blue].map((part) => part / 255)
    .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4))
    .reduce((sum, part, place) => sum + part * [0.2126, 0.7152, 0.0722][place], 0);
  const paper = (element) => {
    for (; element; element = element.parentElement) {
      const color = parts(getComputedStyle(element).backgroundColor);
      if (color.length < 4 || color[3] === 1) return color;
    }
    return [255, 255, 255];
  };
  const found = [];
  for (const element of document.querySelectorAll("body *")) {
    const text = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!text || !element.checkVisibility() || element.closest(".hidden, .skip")) continue;
    const [ink, ground] = [light(parts(getComputedStyle(element).color)), light(paper(element))];
    const contrast = (Math.max(ink, ground) + 0.05) / (Math.min(ink, ground) + 0.05);
    if (contrast < 4.5) found.push([element.textContent, contrast]);
  }
  return found;
}"""


def test_added_class_survives_an_unreadable_first_image(page: Page) -> None:
    def slow(route: Route) -> None:
        time.sleep(0.3)
        route.continue_()

    page.route("**/v1/predict", slow)
    choose(page, ("red.png", RED), ("notes.png", b"no image"))
    add_class(page, "fog")
    expect(page.locator(".tuned li.added")).to_have_count(1)
    expect(page.locator("#own li")).to_have_count(1)
    expect(page.get_by_text("This image cannot be read")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_fits_and_has_contrast(page: Page, scheme: str) -> None:
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    choose(page, ("a-rather-long-name-" * 8 + ".png", RED), ("notes.png", b"no image"))
    add_class(page, "donaudampfschifffahrtsgesellschaftskapitänsmütze")
    page.get_by_role("switch").check()
    expect(page.locator(".zero-shot li.added")).to_have_count(1)
    page.evaluate("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
    for size in (DESK, PHONE, {"width": 320, "height": 600}):
        page.set_viewport_size(size)  # type: ignore[arg-type]
        width = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
        assert width[0] <= width[1], size
        assert page.evaluate(CONTRASTS) == []
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(244, 245, 246)") is (scheme == "light")


def test_api_reference_page(page: Page, address: str) -> None:
    page.get_by_role("link", name="API").click()
    expect(page.locator("article h3 .verb")).to_have_text(["GET", "POST", "POST", "GET", "GET"])
    expect(page.get_by_text("An image file; up to 16 fields of this name. (required)")).to_be_visible()
    expect(page.locator("pre").filter(has_text="image=@one.jpg")).to_contain_text(f"{address}/v1/predict")
    page.set_viewport_size({"width": 390, "height": 844})
    width = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert width[0] <= width[1]
    page.get_by_role("link", name="Try it").click()
    expect(page.locator("#main")).to_be_visible()
