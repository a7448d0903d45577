"""A contact sheet: pictures in rows, under each what it was taken for."""

import io
import math
from pathlib import Path

from matplotlib import get_data_path
from PIL import Image, ImageDraw, ImageFont, ImageOps

from vlprompt.classifier.classifier import Guess
from vlprompt.data.images import ImageError, read_image
from vlprompt.utils.files import atomic_write
from vlprompt.utils.text import visible

# In pixels. A line holds about 24 characters.
SIDE, GAP, LINE = 176, 16, 18
COLUMNS, LIMIT = 6, 300
# Pillow's own font has no letters beyond ASCII.
FONTS = Path(get_data_path()) / "fonts" / "ttf"
INK, GRAY, PALE, RED = "#1f2328", "#656d76", "#f0f1f3", "#b3261e"


class Sheet:
    """Collects small copies of pictures; the first 300 are shown."""

    def __init__(self) -> None:
        self.tiles: list[Image.Image] = []
        self._bold, self._plain = (ImageFont.truetype(FONTS / "DejaVuSans.ttf", size) for size in (13, 11))

    def add(self, path: str, guess: Guess | ImageError) -> None:
        """Add a picture with its guess, or with the reason why there is none."""
        if len(self.tiles) == LIMIT:
            return
        tile = Image.new("RGB", (SIDE, SIDE + 3 * LINE), "white")
        pen = ImageDraw.Draw(tile)
        pen.rectangle((0, 0, SIDE - 1, SIDE - 1), fill=PALE)
        if isinstance(guess, ImageError):
            said, probability, color = guess.reason, "", RED
        else:
            said, probability, color = guess.label, f"{guess.probability:.1%}", INK
            small = ImageOps.contain(read_image(path), (SIDE, SIDE))
            tile.paste(small, ((SIDE - small.width) // 2, (SIDE - small.height) // 2))
        for line, (text, font, fill) in enumerate(
            (
                (said, self._bold, color),
                (probability, self._plain, INK),
                (visible(Path(path).name), self._plain, GRAY),
            )
        ):
            pen.text((0, SIDE + 2 + line * LINE), self._fitted(text, font), fill=fill, font=font)
        self.tiles.append(tile)

    def write(self, file: Path) -> None:
        """Write the sheet as a PNG."""
        columns = max(1, min(COLUMNS, len(self.tiles)))
        rows = math.ceil(len(self.tiles) / columns)
        wide, high = SIDE + GAP, SIDE + 3 * LINE + GAP
        sheet = Image.new("RGB", (columns * wide + GAP, rows * high + GAP), "white")
        for place, tile in enumerate(self.tiles):
            sheet.paste(tile, (GAP + place % columns * wide, GAP + place // columns * high))
        buffer = io.BytesIO()
        sheet.save(buffer, "PNG")
        atomic_write(file, buffer.getvalue())

    @staticmethod
    def _fitted(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
        if font.getlength(text) <= SIDE:
            return text
        while text and font.getlength(text + "…") > SIDE:
            text = text[:-1]
        return text + "…"
