"""Datasets, few-shot sampling, image transforms and the cache of frozen features."""

from typing import Any


def __getattr__(name: str) -> Any:
    """Import `Dataset` and `Item` on first use: plug-ins take them from here, and reading a record needs neither."""
    if name in ("Dataset", "Item"):
        from vlprompt.data import dataset

        return getattr(dataset, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
