"""Options, arguments and helpers that several commands share."""

import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from vlprompt.cli import complete
from vlprompt.errors import VLPromptError
from vlprompt.utils.clean_output import CleanStream, as_line

RECIPE = "[default: the recipe's]"


def listed(names: Sequence[str]) -> str:
    """Join names as in "table, json or csv"."""
    return " or ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def one_of(*names: str, former: Sequence[str] = ()) -> Callable[[str | None], str | None]:
    """Return a callback that accepts these values and former names, and suggests a similar one otherwise."""

    def check(value: str | None) -> str | None:
        if value is None or value in names or value in former:
            return value
        from vlprompt.utils.strings import did_you_mean

        hint = did_you_mean(value, names)
        raise typer.BadParameter(f"must be {listed(names)}, got {value!r}" + (f"; {hint}" if hint else ""))

    return check


def output_format(*names: str, former: Sequence[str] = ()) -> Any:
    """Return the `--format` option, the output format of a command's results.

    Args:
        names: the formats, the default first.
        former: earlier names that are still accepted.
    """
    return typer.Option(
        "--format",
        metavar="FORMAT",
        callback=one_of(*names, former=former),
        autocompletion=complete.starting(names),
        help=f"Print results as {listed(names)}.",
    )


def chosen_format(form: str, as_json: bool) -> str:
    """Combine `--format` and `--json` into one format."""
    if as_json and form not in ("table", "json"):
        raise VLPromptError(f"--json means --format json, but --format is {form}; leave one of them out")
    return "json" if as_json else form


Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only: no progress, no summary.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Also print debug messages.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout; same as --format json.")]

Run = Annotated[Path, typer.Argument(metavar="RUN", help="Run folder, as written by `vlprompt tune`.")]
Runs = Annotated[
    list[Path], typer.Argument(metavar="RUNS", help="Folders that contain runs, at any depth.", show_default=False)
]
Data = Annotated[
    str,
    typer.Argument(
        metavar="DATA",
        autocompletion=complete.datasets,
        help="Dataset name, folder, .csv, .tsv, .parquet, .jsonl or .json file, or hf:NAME.",
    ),
]
Root = Annotated[
    str | None,
    typer.Option(
        metavar="FOLDER",
        help="Folder of the named datasets, or of a split file's images.  [default: $VLPROMPT_DATA, or data]",
    ),
]
NameMap = Annotated[
    Path | None,
    typer.Option(
        "--name-map", metavar="FILE", help="File (.json, .yaml, .csv or .tsv) that maps folder names to class names."
    ),
]
Exclude = Annotated[
    list[str] | None,
    typer.Option(
        "--exclude", metavar="PATTERN", help="Files and folders to leave out, such as '*_mask.png'; repeatable."
    ),
]
Targets = Annotated[
    str | None,
    typer.Option(metavar="P,Q", help="Other datasets to test on, separated by commas, each as DATA, or a group."),
]
Backbone = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="`photos`, `embedded` (drawings), an open_clip pair such as ViT-B-16/openai, or a path; `auto` is "
        "`photos` if the extra `photos` is installed, else `embedded`.  [default: the recipe's, or auto]",
    ),
]
RunBackbone = Annotated[
    str | None,
    typer.Option(
        "--backbone",
        metavar="PATH",
        help="Current location of the run's backbone weights.  [default: the location in the record]",
    ),
]
Device = Annotated[str, typer.Option(metavar="DEVICE", help="auto, cpu, cuda, cuda:N or mps.")]
RunDevice = Annotated[
    str | None,
    typer.Option(metavar="DEVICE", help="auto, cpu, cuda, cuda:N or mps.  [default: the recipe's, or auto]"),
]
Runtime = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        callback=one_of("torch", "onnx", "openvino"),
        help="What runs the image tower: torch, or onnx or openvino for a model that `vlprompt export` wrote.",
    ),
]
RuntimePrecision = Annotated[
    str | None,
    typer.Option(
        "--precision",
        metavar="TYPE",
        callback=one_of("fp32", "fp16", "bf16", "int8"),
        help="Precision of that model: fp32, fp16, bf16 or int8.  [default: fp32]",
    ),
]
Epochs = Annotated[int | None, typer.Option(metavar="N", help=f"Passes over the training images.  {RECIPE}")]
BatchSize = Annotated[int | None, typer.Option(metavar="N", help=f"Training images per step.  {RECIPE}")]
LearningRate = Annotated[float | None, typer.Option("--lr", metavar="RATE", help=f"Learning rate.  {RECIPE}")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Any setting, such as method.n_text=8; repeatable."),
]


@contextmanager
def loading(what: str, quiet: bool = False) -> Iterator[None]:
    """Show `what` on stderr while a slow import runs, on a terminal only."""
    if quiet or not sys.stderr.isatty():
        yield
        return
    terminal = sys.stderr.rich_proxied_file if isinstance(sys.stderr, CleanStream) else sys.stderr
    print(f"{what} ...", end="", file=terminal, flush=True)
    try:
        yield
    finally:
        print("\r\x1b[2K", end="", file=terminal, flush=True)


class _Lines(logging.Formatter):
    """Formatter of messages of one line; a traceback that follows keeps its lines."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        return as_line(super().formatMessage(record))


def set_up_logging(quiet: bool, verbose: bool = False, usual: int = logging.INFO) -> None:
    """Print the messages of the package's logger to stderr, without prefixes."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Lines("%(message)s"))
    logger = logging.getLogger("vlprompt")
    logger.handlers, logger.propagate = [handler], False
    logger.setLevel(logging.ERROR if quiet else logging.DEBUG if verbose else usual)
