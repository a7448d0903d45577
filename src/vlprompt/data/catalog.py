"""The datasets that have a name, as data for lists."""

from pathlib import Path
from typing import Any

from vlprompt.data.datasets.known import Known
from vlprompt.data.loading import DATASETS, list_datasets


def catalog(root: Path | None = None) -> list[dict[str, Any]]:
    """What is known of each dataset, and where its images are below the data folder `root`.

    A plug-in's entry that is no `Known` has a name and the first line of its docstring alone.
    """
    return [_entry(name, root) for name in list_datasets()]


def _entry(name: str, root: Path | None) -> dict[str, Any]:
    known = DATASETS.get(name)
    if not isinstance(known, Known):
        return {"name": name, "about": (known.__doc__ or "").strip().split("\n")[0]}
    return {
        "name": name,
        "about": known.about,
        "classes": len(known.class_names),
        "sizes": {split: size.images for split, size in known.sizes.items()},
        "template": known.template,
        "license": known.license,
        "url": known.url,
        "shifted": list(known.shifted),
        "where": known.where(root),
        "class_names": list(known.class_names),
    }
