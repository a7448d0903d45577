"""The protocols: which classes are learned, and on which images and classes a run is tested."""

from dataclasses import dataclass, field, replace
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import NDArray

from vlprompt.data.dataset import Dataset, Item
from vlprompt.data.sampling import ClassSubset, class_half
from vlprompt.errors import VLPromptError

SOURCE = "source"


@dataclass(frozen=True)
class Evaluation:
    """Images that are classified, by their classes, and the classes that compete for them."""

    images: ClassSubset = "all"
    classes: ClassSubset = "all"

    def labels(self, count: int) -> tuple[range, range]:
        """Labels of the images, and labels that compete, of a dataset with `count` classes."""
        return class_half(count, self.images), class_half(count, self.classes)

    def of(self, dataset: Dataset) -> Dataset:
        """What is tested of a dataset: its class names are those that compete, its test images those that count.

        Raises:
            VLPromptError: there are no such images.
        """
        images, classes = self.labels(len(dataset.class_names))
        if len(classes) < 2:
            count, whose = len(dataset.class_names), "" if self.classes == "all" else f" {self.classes}"
            raise VLPromptError(
                f"dataset {dataset.name!r} has {count} classes, so a test has one{whose} class alone to choose from; "
                "add classes, or use protocol few-shot"
            )
        items = tuple(Item(item.path, classes.index(item.label)) for item in dataset.test if item.label in images)
        if not items:
            whose = "" if self.images == "all" else f" of its {self.images} classes"
            raise VLPromptError(f"dataset {dataset.name!r} has no test images{whose}; add some to its test split")
        return replace(
            dataset, class_names=tuple(dataset.class_names[i] for i in classes), train=(), val=(), test=items
        )


@dataclass(frozen=True)
class Protocol:
    """Classes that are learned, and what is tested.

    Attributes:
        about: what it is, in a line.
        train: classes whose shots are learned from.
        tests: on the dataset that is learned from, by name.
        targets: other datasets that are tested on, each as a test of its name. "own": with classes of their own.
            "trained": theirs are among those that were learned. None: there are none.
        recipes: the protocols whose recipes a run starts from: the first that there is one of.
        means: numbers beside the tests: harmonic means of two of them.
        shots: what a grid learns from unless told otherwise.
    """

    about: str
    train: ClassSubset
    tests: dict[str, Evaluation]
    recipes: tuple[str, ...]
    targets: Literal["own", "trained"] | None = None
    means: dict[str, tuple[str, str]] = field(default_factory=dict)
    shots: tuple[int, ...] = (16,)

    @property
    def names_new(self) -> bool:
        """Whether classes are tested that are not learned, which a method bound to its classes cannot name."""
        return self.targets == "own" or any(test.classes != self.train for test in self.tests.values())

    def summary(self, metrics: dict[str, dict[str, Any]]) -> dict[str, float]:
        """What is computed from several tests: harmonic means, and the mean accuracy of targets."""
        numbers = {
            name: harmonic_mean(metrics[one]["accuracy"], metrics[other]["accuracy"])
            for name, (one, other) in self.means.items()
        }
        if self.targets:
            targets = [values["accuracy"] for name, values in metrics.items() if name not in self.tests]
            numbers["target_average"] = sum(targets) / len(targets)
        return numbers


# A recipe that is to generalize stands in for another one of that kind before one that is made for the learned classes.
_ELSEWHERE = ("cross-dataset", "base-to-new", "few-shot")

PROTOCOLS: dict[str, Protocol] = {
    "few-shot": Protocol(
        about="all classes are learned and tested",
        train="all",
        tests={"test": Evaluation()},
        recipes=("few-shot",),
        shots=(1, 2, 4, 8, 16),
    ),
    "base-to-new": Protocol(
        about="the first half of the classes (base) is learned; base and new are tested, apart and among one another",
        train="base",
        tests={
            "base": Evaluation("base", "base"),
            "new": Evaluation("new", "new"),
            "open-base": Evaluation("base", "all"),
            "open-new": Evaluation("new", "all"),
        },
        recipes=("base-to-new",),
        means={"harmonic_mean": ("base", "new"), "open_harmonic_mean": ("open-base", "open-new")},
    ),
    "cross-dataset": Protocol(
        about="all classes of one dataset are learned; it and others with classes of their own are tested",
        train="all",
        tests={SOURCE: Evaluation()},
        recipes=_ELSEWHERE,
        targets="own",
    ),
    "domain-generalization": Protocol(
        about="all classes are learned in one domain; it and others with the same classes, or some of them, are tested",
        train="all",
        tests={SOURCE: Evaluation()},
        recipes=("domain-generalization", *_ELSEWHERE),
        targets="trained",
    ),
}


@overload
def harmonic_mean(base: float, new: float) -> float: ...
@overload
def harmonic_mean(base: NDArray[np.float64], new: NDArray[np.float64]) -> NDArray[np.float64]: ...
def harmonic_mean(base: Any, new: Any) -> Any:
    """Harmonic mean of base and new accuracy, numbers or arrays of one shape; 0 where one of them is 0."""
    product, total = np.multiply(base, new), np.add(base, new)
    mean = np.where(product == 0, 0.0, 2 * product / np.where(product == 0, 1.0, total))
    return mean if mean.ndim else float(mean)
