"""The report in a real browser loads without console messages, fits a phone, filters and sorts."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.helpers.browser import chromium, needs_chromium

pytestmark = needs_chromium

PHONE = {"width": 360, "height": 740}
DESK = {"width": 1280, "height": 900}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def page(browser: Browser, report: Path) -> Iterator[Page]:
    page = browser.new_page(viewport=DESK)
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("dialog", lambda dialog: said.append(dialog.message))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(report.as_uri())
    yield page
    page.close()
    assert said == []
    assert [url for url in asked if not url.startswith(("data:", "blob:"))] == [report.as_uri()]


def rows(page: Page) -> list[str]:
    """Texts of the visible rows of the first table."""
    return [row.inner_text() for row in page.locator("#part-0 table.rows").first.locator("tbody tr:visible").all()]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
def test_page_fits_the_viewport(size: dict[str, int], scheme: str, page: Page) -> None:
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size(size)
    page.evaluate("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
    width = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert width[0] <= width[1] == size["width"]
    paper, ink = page.evaluate(
        "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
    )
    drawn = page.locator("svg text").first.evaluate("(text) => getComputedStyle(text).fill")
    assert (paper == "rgb(255, 255, 255)") is (scheme == "light")
    assert drawn == ink != paper
    sizes = page.locator("figure text").evaluate_all("(all) => all.map((text) => text.getBoundingClientRect().height)")
    assert min(sizes) >= 9, "letters in plots are large enough to read"


def test_filter(page: Page) -> None:
    everything = len(rows(page))
    page.get_by_label("Filter rows").fill("openmoji DAPT")
    shown = rows(page)
    assert [row.split()[0] for row in shown] == ["openmoji", "dapt"]
    assert page.locator("#found").inner_text().endswith("rows")
    page.get_by_label("Filter rows").fill("")
    assert len(rows(page)) == everything


def test_filter_opens_sections_with_matches(page: Page) -> None:
    folded = page.locator("details.more").filter(has_text="Paired comparisons").first
    expect(folded).not_to_have_attribute("open", "")
    page.get_by_label("Filter rows").fill("open-new maple")
    expect(folded).to_have_attribute("open", "")
    expect(folded.locator("summary .count")).to_have_text("3 of 54")
    page.get_by_label("Filter rows").fill("")
    expect(folded).not_to_have_attribute("open", "")


def test_sort_within_each_dataset(page: Page) -> None:
    table = page.locator("#part-0 table.rows").first
    button = table.get_by_role("button", name="new", exact=True)
    button.focus()
    page.keyboard.press("Enter")
    expect(table.locator("th[aria-sort=descending]")).to_have_text("new")
    groups = "\n".join(rows(page)).split("openmoji")[1]
    order = [
        line.split()[0]
        for line in groups.splitlines()
        if line and line.split()[0] in ("zero-shot", "coop", "dapt", "maple")
    ]
    assert order[:4] == ["zero-shot", "coop", "maple", "dapt"]
    page.keyboard.press("Enter")
    expect(table.locator("th[aria-sort=ascending]")).to_have_text("new")
    assert rows(page)[0].startswith("average"), "datasets stay where they are"


def test_methods_can_be_hidden(page: Page) -> None:
    page.get_by_text("Methods", exact=True).last.click()
    page.get_by_role("button", name="coop", exact=True).click()
    assert not [row for row in rows(page) if row.startswith("coop")]
    assert page.locator("svg .method-1").first.is_hidden()
    assert page.locator("svg .method-2").first.is_visible()
    page.get_by_role("button", name="coop", exact=True).click()
    assert [row for row in rows(page) if row.startswith("coop")]


def test_records_can_be_saved(page: Page, tmp_path: Path) -> None:
    with page.expect_download() as download:
        page.get_by_role("button", name="Save the records").click()
    saved = tmp_path / "records.json"
    download.value.save_as(saved)
    assert saved.read_text().startswith('[{"protocol":')


def test_page_is_readable_without_scripts(browser: Browser, report: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(report.as_uri())
    assert page.get_by_label("Filter rows").is_hidden()
    assert page.locator("table.rows").first.is_visible()
    context.close()
