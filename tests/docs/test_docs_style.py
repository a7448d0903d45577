"""Automatic style checks of pages and messages: width, spelling, links."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [
        *(ROOT / "docs").glob("*.md"),
        *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", ".github/SECURITY.md")),
        ROOT / "tools" / "pictoclip" / "README.md",
    ]
)
SOURCES = sorted(path for folder in ("src/vlprompt", "benchmarks", "tools") for path in (ROOT / folder).rglob("*.py"))
WIDTH = 120
BRITISH = re.compile(
    r"""\b(
        (re|dis)?(colour|favour|honour|neighbour|behaviour|flavour)\w* | licence\w* | grey\w* | centre[ds]?
        | (normal|optim|minim|maxim|general|initial|final|regular|visual|summar|organ|recogn|token|quant|serial|parallel
          |capital|random|util|special|categor|custom|penal|emphas|standard)is(e|es|ed|er|ers|ing|ation\w*)
        | analys(e|ed|ing) | catalogue\w* | dialogue\w* | modell\w+ | labell\w+ | cancell(ed|ing) | travell\w+
        | whilst
    )\b""",
    re.IGNORECASE | re.VERBOSE,
)
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
CODE = re.compile(r"^```.*?^```$|^ {4,}[^\n]*$", re.MULTILINE | re.DOTALL)
WRITTEN_IN = re.compile(r"<!-- (?:table|variants|compare|plot)\b.*?<!-- end -->", re.DOTALL)  # by tools/results.py


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def prose(text: str) -> Iterator[tuple[int, str]]:
    """Yield number and text of lines that are neither code, tables nor generated."""
    blanked = CODE.sub(lambda match: "\n" * match[0].count("\n"), text)
    blanked = WRITTEN_IN.sub(lambda match: "\n" * match[0].count("\n"), blanked)
    for number, line in enumerate(blanked.splitlines(), start=1):
        if not line.startswith("|"):
            yield number, line


def anchors(text: str) -> set[str]:
    """Return the anchors of a page's headings."""
    found = set()
    for heading in HEADING.findall(re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)):
        words = re.sub(r"[`*]|\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        found.add(re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", words.lower())).strip("-"))
    return found


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_no_line_is_too_long(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    long = [number for number, line in prose(text) if len(re.sub(r"\(?https?://\S+", "", line)) > WIDTH]
    assert not long, f"lines of more than {WIDTH} characters: {long}"


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_pages_have_american_spelling(page: Path) -> None:
    found = {match[0] for _, line in prose(page.read_text(encoding="utf-8")) for match in BRITISH.finditer(line)}
    assert not found


@pytest.mark.parametrize("source", SOURCES, ids=named)
def test_texts_in_sources_have_american_spelling(source: Path) -> None:
    tree = ast.parse(source.read_text(encoding="utf-8"))
    texts = (node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str))
    found = {match[0] for text in texts for match in BRITISH.finditer(text)}
    assert not found


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_are_valid(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    broken = []
    for target in LINK.findall(CODE.sub("", text)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        found = file.exists() and (not anchor or file.suffix != ".md" or anchor in anchors(file.read_text("utf-8")))
        if not found:
            broken.append(target)
        elif page.parent == ROOT / "docs" and not file.is_relative_to(ROOT / "docs"):
            broken.append(f"{target} is outside of docs/, so mkdocs cannot link it")
    assert not broken


def test_every_page_is_in_the_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:")[2].partition("\n\n")[0]
    listed = re.findall(r": ([\w-]+\.md)$", navigation, re.MULTILINE)
    assert sorted(listed) == sorted(page.name for page in (ROOT / "docs").glob("*.md"))


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) < 130
