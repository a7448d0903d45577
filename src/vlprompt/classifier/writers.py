"""Write predictions for image files one by one, as a table, JSON, JSON lines or CSV."""

import csv
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, TextIO

from vlprompt.classifier.classifier import BATCH, Classifier, Guess
from vlprompt.classifier.contact_sheet import ContactSheet
from vlprompt.data.images import ImageError
from vlprompt.utils.progress import Reporter
from vlprompt.utils.strings import csv_cell, visible


class Writer(Protocol):
    """Function that writes the prediction for one image."""

    def __call__(self, path: str, guess: Guess | ImageError) -> None:
        """Write one line."""


def write_predictions(
    classifier: Classifier,
    paths: Sequence[str],
    out: TextIO,
    reporter: Reporter,
    *,
    form: str = "table",
    top: int = 1,
    batch_size: int = BATCH,
    sheet: Path | None = None,
) -> int:
    """Classify image files and write one line per image; an unreadable image gets its error.

    Args:
        classifier: classifier to use.
        paths: paths of the images.
        out: text stream to write to.
        reporter: shows progress and, at the end, images per second.
        form: "table", "json" (one list), "jsonl" or "csv".
        top: number of classes per image.
        batch_size: images per forward pass of the image tower.
        sheet: PNG file for a contact sheet; None for none.

    Returns:
        The number of images that could not be read.
    """
    write = FORMATS[form](out, paths, classifier.class_names, top)
    contact_sheet, failed, begun = ContactSheet(), 0, time.monotonic()
    with reporter.bar("predict") as bar:
        guesses = classifier.predict_each(paths, top=top, batch_size=batch_size)
        for number, (path, guess) in enumerate(zip(paths, guesses, strict=True), start=1):
            write(path, guess)
            failed += isinstance(guess, ImageError)
            if sheet is not None:
                contact_sheet.add_guess(path, guess)
            bar(number, len(paths))
    seconds = time.monotonic() - begun
    unread = f"; {failed} could not be read" if failed else ""
    reporter.say(f"{len(paths):,} images in {seconds:.1f} s, {len(paths) / seconds:.1f} per second{unread}")
    if sheet is not None:
        contact_sheet.write(sheet)
        shown = len(contact_sheet.tiles)
        reporter.say(f"contact sheet: {sheet}{f' (the first {shown} images)' if shown < len(paths) else ''}")
    return failed


def _table(out: TextIO, paths: Sequence[str], class_names: Sequence[str], top: int) -> Writer:
    path_width, label_width = (max(map(len, texts), default=0) for texts in (map(visible, paths), class_names))

    def write(path: str, guess: Guess | ImageError) -> None:
        if isinstance(guess, ImageError):
            text = f"error: {guess.reason}"
        else:
            text = "  ".join(f"{name:<{label_width}} {value:6.1%}" for name, value in guess.top)
        print(f"{visible(path):<{path_width}}  {text}", file=out, flush=True)

    return write


def _json(out: TextIO, paths: Sequence[str], class_names: Sequence[str], top: int) -> Writer:
    written = 0

    def write(path: str, guess: Guess | ImageError) -> None:
        nonlocal written
        written += 1
        before, after = "[\n" if written == 1 else ",\n", "\n]\n" if written == len(paths) else ""
        print(f"{before}{_as_json(path, guess)}", end=after, file=out, flush=True)

    return write


def _json_lines(out: TextIO, paths: Sequence[str], class_names: Sequence[str], top: int) -> Writer:
    def write(path: str, guess: Guess | ImageError) -> None:
        print(_as_json(path, guess), file=out, flush=True)

    return write


def _as_json(path: str, guess: Guess | ImageError) -> str:
    if isinstance(guess, ImageError):
        return json.dumps({"image": path, "error": guess.reason})
    ranked = [{"label": name, "probability": value} for name, value in guess.top]
    return json.dumps({"image": path, "label": guess.label, "probability": guess.probability, "top": ranked})


def _csv(out: TextIO, paths: Sequence[str], class_names: Sequence[str], top: int) -> Writer:
    rows = csv.writer(out, lineterminator="\n")
    count = min(top, len(class_names))
    suffixes = ["", *(f"_{rank}" for rank in range(2, count + 1))]
    columns = [f"{column}{suffix}" for suffix in suffixes for column in ("label", "probability")]
    rows.writerow(["image", "error", *columns])

    def write(path: str, guess: Guess | ImageError) -> None:
        if isinstance(guess, ImageError):
            rows.writerow([csv_cell(path), guess.reason, *([""] * 2 * count)])
        else:
            labels = (cell for name, value in guess.top for cell in (csv_cell(name), f"{value:.6f}"))
            rows.writerow([csv_cell(path), "", *labels])
        out.flush()

    return write


FORMATS = {"table": _table, "json": _json, "jsonl": _json_lines, "csv": _csv}
