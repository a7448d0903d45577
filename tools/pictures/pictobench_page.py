"""Write what `docs/pictobench.md` shows of the datasets: an image of examples, and tables.

    python tools/pictures/pictobench_page.py

Writes `docs/images/pictobench.jpg` and prints the tables.
"""

from pathlib import Path

from PIL import Image, ImageDraw

from vlprompt.data.datasets.pictobench import IMAGES, PICTOBENCH, SHIFTED, sprite
from vlprompt.data.datasets.scene_images import SIZE, draw_scene

IMAGE = Path(__file__).parents[2] / "docs" / "images" / "pictobench.jpg"
COLUMNS, CELL, MARGIN = 9, SIZE + 4, 76


def table() -> str:
    """Return the table of the datasets."""
    lines = ["| name | classes | train / val / test | split by |", "| --- | --: | --- | --- |"]
    for known in (*PICTOBENCH, *SHIFTED):
        images = " / ".join(f"{known.sizes[split].images:,}" if split in known.splits else "–" for split in IMAGES)
        kind = "drawing" if known.concepts[0].unseen else "scene"
        lines.append(f"| `{known.name}` | {len(known.concepts)} | {images} | {kind} |")
    return "\n".join(lines)


def classes() -> str:
    """Return the table of the classes."""
    lines = ["| dataset | classes, in label order |", "| --- | --- |"]
    return "\n".join([*lines, *(f"| `{known.name}` | {', '.join(known.class_names)} |" for known in PICTOBENCH)])


def examples() -> Image.Image:
    """Return a test image of each of the first classes of every dataset, a row for each dataset."""
    datasets = (*PICTOBENCH, *SHIFTED)
    sheet = Image.new("RGB", (MARGIN + COLUMNS * CELL, len(datasets) * CELL), "white")
    draw = ImageDraw.Draw(sheet)
    for row, known in enumerate(datasets):
        draw.text((2, row * CELL + CELL // 2 - 6), known.name.rsplit("-", 1)[1], fill="black")
        for column, concept in enumerate(known.concepts[:COLUMNS]):
            image = draw_scene(known.scene(concept, "test", 1), sprite)
            sheet.paste(image, (MARGIN + column * CELL, row * CELL + 2))
    return sheet


def main() -> None:
    """Write the image and print the tables."""
    examples().save(IMAGE, quality=80, optimize=True)
    print(table(), classes(), sep="\n\n")


if __name__ == "__main__":
    main()
