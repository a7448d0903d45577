"""Guesses for a list of pictures, written as they come."""

import csv
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, TextIO

from vlprompt.classifier.classifier import Classifier, Guess
from vlprompt.classifier.contact_sheet import Sheet
from vlprompt.data.images import ImageError
from vlprompt.utils.progress import Reporter
from vlprompt.utils.text import visible


class Writer(Protocol):
    """Writes the answer to one picture."""

    def __call__(self, path: str, guess: Guess | ImageError) -> None:
        """Write a line."""


def answer(
    classifier: Classifier,
    paths: Sequence[str],
    out: TextIO,
    reporter: Reporter,
    *,
    form: str = "table",
    top: int = 1,
    batch_size: int = 32,
    sheet: Path | None = None,
) -> int:
    """Classify files and write a line for each; one that cannot be read gets a line that says why.

    Args:
        classifier: of the run.
        paths: of the files.
        out: where the lines go.
        reporter: shows progress and, at the end, images per second.
        form: one of `FORMATS`.
        top: classes a line.
        batch_size: pictures at a time in the image tower.
        sheet: PNG file for a contact sheet.

    Returns:
        how many could not be read.
    """
    write = FORMATS[form](out, paths, classifier.class_names, top)
    shown, failed, begun = Sheet(), 0, time.monotonic()
    with reporter.bar("predict") as bar:
        guesses = classifier.predict_each(paths, top=top, batch_size=batch_size)
        for number, (path, guess) in enumerate(zip(paths, guesses, strict=True), start=1):
            write(path, guess)
            failed += isinstance(guess, ImageError)
            if sheet is not None:
                shown.add(path, guess)
            bar(number, len(paths))
    seconds = time.monotonic() - begun
    bad = f"; {failed} could not be read" if failed else ""
    reporter.say(f"{len(paths):,} images in {seconds:.1f} s, {len(paths) / seconds:.1f} a second{bad}")
    if sheet is not None:
        shown.write(sheet)
        more = f" (the first {len(shown.tiles)} of them)" if len(shown.tiles) < len(paths) else ""
        reporter.say(f"contact sheet: {sheet}{more}")
    return failed


def _table(out: TextIO, paths: Sequence[str], class_names: Sequence[str], top: int) -> Writer:
    wide, label = (max(map(len, words), default=0) for words in (map(visible, paths), class_names))

    def write(path: str, guess: Guess | ImageError) -> None:
        if isinstance(guess, ImageError):
            said = f"error: {guess.reason}"
        else:
            said = "  ".join(f"{name:<{label}} {value:6.1%}" for name, value in guess.top)
        print(f"{visible(path):<{wide}}  {said}", file=out, flush=True)

    return write


def _lines(out: TextIO, paths: Sequence[str], class_names: Sequence[str], top: int) -> Writer:
    def write(path: str, guess: Guess | ImageError) -> None:
        if isinstance(guess, ImageError):
            found: dict[str, object] = {"error": guess.reason}
        else:
            ranked = [{"label": name, "probability": value} for name, value in guess.top]
            found = {"label": guess.label, "probability": guess.probability, "top": ranked}
        print(json.dumps({"image": path, **found}), file=out, flush=True)

    return write


def _csv(out: TextIO, paths: Sequence[str], class_names: Sequence[str], top: int) -> Writer:
    rows = csv.writer(out, lineterminator="\n")
    count = min(top, len(class_names))
    ranks = ["", *(f"_{rank}" for rank in range(2, count + 1))]
    rows.writerow(["image", "error", *(f"{column}{rank}" for rank in ranks for column in ("label", "probability"))])

    def write(path: str, guess: Guess | ImageError) -> None:
        if isinstance(guess, ImageError):
            rows.writerow([path, guess.reason, *([""] * 2 * count)])
        else:
            rows.writerow([path, "", *(part for name, value in guess.top for part in (name, f"{value:.6f}"))])
        out.flush()

    return write


FORMATS = {"table": _table, "jsonl": _lines, "csv": _csv}
