"""Contact sheets: thumbnails with their predictions, in one PNG."""

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib import get_data_path
from PIL import Image, ImageDraw, ImageFont, ImageOps

from vlprompt.classifier.classifier import Guess
from vlprompt.data.images import ImageError, read_image
from vlprompt.utils.files import atomic_write
from vlprompt.utils.strings import visible

# Pixels at scale 1, where a line fits about 24 characters.
SIDE, GAP, LINE = 176, 16, 18
BOLD, PLAIN = 13, 11
COLUMNS, LIMIT = 6, 300
# Pillow's own font has only ASCII.
FONTS = Path(get_data_path()) / "fonts" / "ttf"
INK, GRAY, PALE, GREEN, RED = "#1f2328", "#656d76", "#f0f1f3", "#1a7f37", "#b3261e"


@dataclass(frozen=True)
class Line:
    """One line of text below an image."""

    text: str
    color: str = INK
    bold: bool = False


class ContactSheet:
    """Contact sheet of tiles, each a thumbnail with lines of text; tiles after the first 300 are dropped.

    Attributes:
        tiles: tiles added so far.
    """

    def __init__(self, *, columns: int = COLUMNS, scale: int = 1) -> None:
        self.tiles: list[Image.Image] = []
        self._columns, self._scale = columns, scale
        self._bold, self._plain = (
            ImageFont.truetype(FONTS / file, scale * size)
            for file, size in (("DejaVuSans-Bold.ttf", BOLD), ("DejaVuSans.ttf", PLAIN))
        )

    def add_guess(self, path: str, guess: Guess | ImageError) -> None:
        """Add an image with its prediction, or an empty tile with the reason for an unreadable image."""
        name = Line(visible(Path(path).name), GRAY)
        if isinstance(guess, ImageError):
            self.add(None, [Line(guess.reason, RED, bold=True), Line(""), name])
        else:
            self.add(path, [Line(guess.label, bold=True), Line(f"{guess.probability:.1%}"), name])

    def add_comparison(self, path: str | Path, label: str, guesses: Mapping[str, str]) -> None:
        """Add an image with its true class and the class that each method predicts, marked right or wrong."""
        marks = [
            Line(f"{'✓' if guess == label else '✗'} {method}: {guess}", GREEN if guess == label else RED)
            for method, guess in guesses.items()
        ]
        self.add(path, [Line(label, bold=True), *marks])

    def add(self, path: str | Path | None, lines: Sequence[Line]) -> None:
        """Add an image, or an empty tile, with lines of text below."""
        if len(self.tiles) == LIMIT:
            return
        side, line_height = self._scale * SIDE, self._scale * LINE
        tile = Image.new("RGB", (side, side + len(lines) * line_height), "white")
        pen = ImageDraw.Draw(tile)
        pen.rectangle((0, 0, side - 1, side - 1), fill=PALE)
        if path is not None:
            small = ImageOps.contain(read_image(path), (side, side))
            tile.paste(small, ((side - small.width) // 2, (side - small.height) // 2))
        for number, line in enumerate(lines):
            font = self._bold if line.bold else self._plain
            place = (0, side + 2 * self._scale + number * line_height)
            pen.text(place, _shortened(line.text, font, side), fill=line.color, font=font)
        self.tiles.append(tile)

    def write(self, file: Path, *, caption: str = "") -> None:
        """Write the sheet as a PNG, with a caption at the bottom."""
        gap, line_height = self._scale * GAP, self._scale * LINE
        columns = max(1, min(self._columns, len(self.tiles)))
        rows = math.ceil(len(self.tiles) / columns)
        width = self._scale * SIDE + gap
        height = max((tile.height for tile in self.tiles), default=0) + gap
        size = (columns * width + gap, rows * height + gap + (line_height if caption else 0))
        sheet = Image.new("RGB", size, "white")
        for place, tile in enumerate(self.tiles):
            sheet.paste(tile, (gap + place % columns * width, gap + place // columns * height))
        if caption:
            text = _shortened(caption, self._plain, size[0] - 2 * gap)
            ImageDraw.Draw(sheet).text((gap, rows * height + gap // 2), text, fill=GRAY, font=self._plain)
        buffer = io.BytesIO()
        sheet.save(buffer, "PNG")
        atomic_write(file, buffer.getvalue())


def _shortened(text: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    """Return the text, shortened with an ellipsis if it is wider than `width` pixels."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"
