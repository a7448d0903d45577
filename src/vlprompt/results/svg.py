"""A panel as SVG that lies inside an HTML page: in the page's colors and letters, with nothing from elsewhere."""

import io
import re
import xml.etree.ElementTree as ElementTree

import matplotlib
from matplotlib.figure import Figure

from vlprompt.results.panels import WIDTH, Looks
from vlprompt.results.plots import Panel
from vlprompt.results.style import COLORS, INK, PAPER, RULE, SETTINGS, ZERO_SHOT

# Colors on light paper by the page's names of them, which are others on dark paper.
NAMED = {
    INK: "var(--ink)",
    PAPER: "var(--panel)",
    RULE: "var(--rule)",
    ZERO_SHOT[0]: "var(--zero-shot)",
    **{color: f"var(--color-{number})" for number, (color, _) in enumerate(COLORS)},
}
PIXELS = 4 / 3  # of CSS in a point


def palette() -> tuple[str, str]:
    """The method's colors as CSS declarations, for light and for dark paper."""
    pairs = {"zero-shot": ZERO_SHOT, **{f"color-{number}": pair for number, pair in enumerate(COLORS)}}
    light, dark = ("".join(f"--{name}:{pair[place]};" for name, pair in pairs.items()) for place in (0, 1))
    return light, dark


def inline_svg(panel: Panel, looks: Looks, key: str, label: str) -> str:
    """The panel as an `svg` element.

    Args:
        panel: what is drawn.
        looks: of the methods. What is drawn of a method has the class "method-NUMBER".
        key: unlike any other panel's of the page, for the ids in it.
        label: what people hear who do not see it.
    """
    with matplotlib.rc_context({**SETTINGS, "svg.hashsalt": key}):
        figure = Figure(figsize=(WIDTH, panel.height), layout="constrained")
        panel.draw(figure.subplots(), looks=looks)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    root = ElementTree.fromstring(buffer.getvalue())
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        element.attrib = {name.rpartition("}")[2]: _adapted(value) for name, value in element.attrib.items()}
        element.text, element.tail = element.text and element.text.strip(), None
    _drop_what_is_not_drawn(root)
    _rename(root, key)
    width, height = (float(root.attrib.pop(name).removesuffix("pt")) * PIXELS for name in ("width", "height"))
    root.attrib.pop("version", None)
    root.attrib |= {"role": "img", "aria-label": label, "width": f"{width:.0f}", "height": f"{height:.0f}"}
    return ElementTree.tostring(root, encoding="unicode")


def _adapted(value: str) -> str:
    """An attribute's value with the page's colors and letters, and with no more digits than can be seen."""
    value = re.sub(r"#[0-9a-f]{6}\b", lambda found: NAMED.get(found[0], found[0]), value)
    value = re.sub(r"font-family: [^;\"]*;? ?", "", value)
    return re.sub(r"-?\d+\.\d{3,}", lambda found: f"{float(found[0]):.2f}".rstrip("0").rstrip("."), value).strip()


def _drop_what_is_not_drawn(root: ElementTree.Element) -> None:
    """Metadata, a style that would be the whole page's, and the paper behind it all."""
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in ("metadata", "style") or child.get("id") == "patch_1":
                parent.remove(child)


def _rename(root: ElementTree.Element, key: str) -> None:
    """Ids that nothing refers to go, others are made the panel's own; a method's becomes a class."""
    references = re.compile(r"(?:^|url\()#([\w.-]+)")
    used = {name for element in root.iter() for value in element.attrib.values() for name in references.findall(value)}
    for element in root.iter():
        name = element.attrib.pop("id", "")
        if name.startswith("method-"):
            element.set("class", name)
        elif name in used:
            element.set("id", f"{key}-{name}")
        for attribute, value in element.attrib.items():
            if attribute in ("href", "clip-path", "style"):
                element.set(attribute, references.sub(lambda found: found[0].replace("#", f"#{key}-"), value))
