"""CIFAR-10 and CIFAR-100 from torchvision's folders.

Their batches are pickles. torchvision compares the MD5 of every batch with the published one before it opens any, so
only the authors' original files are unpickled. The images are written into the cache as PNG.
"""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vlprompt.data.dataset import Item
from vlprompt.data.datasets.annotation_files import broken, check_keys
from vlprompt.data.datasets.coop_splits import split_off_val
from vlprompt.data.datasets.known import ClassList, Size
from vlprompt.data.datasets.on_disk import Layout, Listing, OnDisk
from vlprompt.data.materialize import write_once


def cifar_layout(maker: str, folder: str, each: int) -> Layout:
    """Return the layout of the torchvision dataset `maker`, which has `each` test images per class."""

    def read(root: Path, classes: ClassList) -> Listing:
        from torchvision import datasets

        found = {}
        for split in ("train", "test"):
            try:
                found[split] = getattr(datasets, maker)(root, train=split == "train")
            except RuntimeError as error:
                raise broken(root / folder, "its checksums differ from the published ones") from error
        check_keys(root / folder, list(found["train"].classes), classes)

        def files() -> Iterator[tuple[str, bytes]]:
            for split, images in found.items():
                for number, pixels in enumerate(images.data):
                    yield _path(split, number), _png(pixels)

        total = sum(len(images.data) for images in found.values())
        items = {
            split: [Item(_path(split, number), int(label)) for number, label in enumerate(images.targets)]
            for split, images in found.items()
        }
        train, val = split_off_val(items["train"])
        written = write_once(maker.lower(), f"writing {maker}", total, files)
        return Listing(written, train, val, items["test"])

    return Layout(
        title="torchvision's folder, with validation images split off by vlprompt",
        folders=(".",),
        needs=(folder,),
        read=read,
        sizes={
            "train": Size(40000, (4 * each, 4 * each)),
            "val": Size(10000, (each, each)),
            "test": Size(10000, (each, each)),
        },
        fetch=(f"{folder}/ from the Python version's archive, https://www.cs.toronto.edu/~kriz/cifar.html",),
    )


def _path(split: str, number: int) -> str:
    return f"{split}/{number:05}.png"


def _png(pixels: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


class CIFAR10(OnDisk):
    """Images of 10 animal and vehicle classes at 32 x 32 pixels."""

    name = "cifar10"
    license = "none stated; research use"
    url = "https://www.cs.toronto.edu/~kriz/cifar.html"
    torchvision = "CIFAR10"
    layouts = (cifar_layout("CIFAR10", "cifar-10-batches-py", 1000),)


class CIFAR100(OnDisk):
    """Images of 100 object and animal classes at 32 x 32 pixels."""

    name = "cifar100"
    license = "none stated; research use"
    url = "https://www.cs.toronto.edu/~kriz/cifar.html"
    torchvision = "CIFAR100"
    layouts = (cifar_layout("CIFAR100", "cifar-100-python", 100),)
