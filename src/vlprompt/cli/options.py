"""What the commands share: their common options, and how they log."""

import logging
from pathlib import Path
from typing import Annotated

import typer

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Errors only: no progress, no summary.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Say more about what is read and done.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout, for scripts.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")]
RunDevice = Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")]
Run = Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder, as `tune` leaves it.")]
PROTOCOLS = "few-shot, base-to-new, cross-dataset or domain-generalization."
Data = Annotated[
    str, typer.Argument(metavar="DATA", help="A dataset's name, a folder, a .csv, .parquet or .jsonl file, or hf:NAME.")
]
Targets = Annotated[
    str | None, typer.Option(help="What else to test on, with commas between: names or paths, as DATA is.")
]
Root = Annotated[
    str | None, typer.Option(help="Folder of the datasets that have a name, or of a .jsonl file's images.")
]
RunBackbone = Annotated[
    str | None, typer.Option("--backbone", help="Where the run's weights lie now, if not where they were.")
]
Backbone = Annotated[str | None, typer.Option(help="embedded, an open_clip pair like ViT-B-16/openai, or a path.")]


def set_up_logging(quiet: bool, verbose: bool, usual: int = logging.INFO) -> None:
    """Bare messages of the package's own logger on stderr."""
    level = logging.ERROR if quiet else logging.DEBUG if verbose else usual
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger = logging.getLogger("vlprompt")
    logger.handlers, logger.propagate = [handler], False
    logger.setLevel(level)
