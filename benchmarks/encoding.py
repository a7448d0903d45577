"""Encoding the views of training images with a frozen image tower: PyTorch, and OpenVINO in each precision."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks.serving import photograph
from benchmarks.steps import backbone_of, seconds
from vlprompt.data.dataset import Item
from vlprompt.data.features import encode_features
from vlprompt.data.image_set import ImageSet
from vlprompt.runtimes.exported_model import FORMATS
from vlprompt.training.inputs import frozen_encoder
from vlprompt.utils.progress import Reporter

# As in `data.view_precision`, None is PyTorch.
PRECISIONS = (None, *(precision for precision in FORMATS["openvino"].precisions if precision != "fp32"))
REPEATS = 3


@dataclass(frozen=True)
class Encoding:
    """Time of encoding in one precision.

    Attributes:
        precision: precision of OpenVINO; None for PyTorch in fp32.
        view: seconds to read an image, cut a view and encode it.
        ratio: ratio of PyTorch's seconds to these.
        conversion: seconds to convert the image tower, once in a process.
    """

    precision: str | None
    view: float
    ratio: float
    conversion: float

    @property
    def break_even(self) -> float:
        """Number of views at which the conversion pays for itself."""
        return self.conversion / (self.view * (self.ratio - 1)) if self.ratio > 1 else float("inf")


def run_all(*, quick: bool, threads: int) -> list[Encoding]:
    """Encode views of a photograph in each precision, in turns; print and return the results."""
    backbone, count = backbone_of(quick), 4 if quick else 48
    with TemporaryDirectory() as folder:
        (Path(folder) / "photograph.jpg").write_bytes(photograph())
        images = ImageSet([Item("photograph.jpg", 0)] * count, Path(folder), backbone.train_transform)
        work = [
            partial(
                encode_features,
                images,
                frozen_encoder(backbone, precision, Reporter(quiet=True)),
                views=1,
                batch_size=100,
                threads=threads,
            )
            for precision in PRECISIONS
        ]
        first = [seconds(one)[0] for one in work]
        times = [[seconds(one)[0] / count for one in work] for _ in range(REPEATS)]
    views = [median(column) for column in zip(*times, strict=True)]
    rows = [
        Encoding(precision, view, views[0] / view, whole - count * view if precision else 0.0)
        for precision, view, whole in zip(PRECISIONS, views, first, strict=True)
    ]
    for row in rows:
        print(
            f"{row.precision or 'PyTorch'}: {1e3 * row.view:.0f} ms a view, {row.ratio:.1f}x; {row.conversion:.1f} s",
            flush=True,
        )
    return rows
