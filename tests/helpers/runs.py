"""Runs of every kind of method, and their inspections."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from vlprompt.analysis.inspection import Inspection, inspect_run

# Type of the fixture `tuned`: a method and its options to the folder of a finished run.
Tuned = Callable[..., Path]

METHODS: dict[str, dict[str, Any]] = {
    "coop": {"n_ctx": 2},
    "coop, class-specific": {"n_ctx": 2, "class_specific": True},
    "cocoop": {},
    "dapt": {"n_text": 3, "n_visual": 2},
    "mudpt": {"n_ctx": 2},
    "vpt": {"n_visual": 2},
    "clip-lora": {},
    "linear-probe": {},
    "tip-adapter": {},
    "zero-shot": {},
}


def run_of(tuned: Tuned, kind: str) -> Path:
    return tuned(kind.split(",")[0], **METHODS[kind])


@cache
def inspected(tuned: Tuned, kind: str) -> Inspection:
    """Return the cached inspection of a run; do not modify it."""
    return inspect_run(run_of(tuned, kind), device="cpu")
