"""Protocols: which classes are learned, and on which images and classes a run is tested."""

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, overload

from vlprompt.data.sampling import ClassSubset, class_half
from vlprompt.errors import VLPromptError

if TYPE_CHECKING:  # reading a record must not import NumPy or image libraries
    import numpy as np
    from numpy.typing import NDArray

    from vlprompt.data.dataset import Dataset

# Name of the test on the source dataset, in protocols that also test other datasets.
SOURCE = "source"


@dataclass(frozen=True)
class Evaluation:
    """One test of a protocol, on part of a dataset.

    Attributes:
        images: classes whose test images are classified.
        classes: classes that an image can be assigned to.
    """

    images: ClassSubset = "all"
    classes: ClassSubset = "all"

    def labels(self, count: int) -> tuple[range, range]:
        """Return the labels of the images and the labels to choose from, for a dataset with `count` classes."""
        return class_half(count, self.images), class_half(count, self.classes)

    def select(self, dataset: "Dataset") -> "Dataset":
        """Return the dataset with the classes to choose from and the test images to classify, relabeled from 0.

        Raises:
            VLPromptError: fewer than two classes to choose from, or no test images.
        """
        images, classes = self.labels(len(dataset.class_names))
        if len(classes) < 2:
            count, half = len(dataset.class_names), "" if self.classes == "all" else f" {self.classes}"
            raise VLPromptError(
                f"dataset {dataset.name!r} has {count} classes, which leaves only one{half} class to choose from; "
                "add classes, or use `protocol` few-shot"
            )
        items = tuple(replace(item, label=classes.index(item.label)) for item in dataset.test if item.label in images)
        if not items:
            whose = "" if self.images == "all" else f" of its {self.images} classes"
            raise VLPromptError(f"dataset {dataset.name!r} has no test images{whose}; add some to its test split")
        return replace(
            dataset, class_names=tuple(dataset.class_names[i] for i in classes), train=(), val=(), test=items
        )


@dataclass(frozen=True)
class Protocol:
    """Which classes are learned and which tests follow.

    Attributes:
        about: description in one line.
        train: classes to learn.
        tests: tests on the source dataset, by name.
        targets: other datasets, each tested under its own name: "own" if their classes may differ from the learned
            ones, "trained" if they must be among them; None if the protocol has no other datasets.
        recipes: protocols whose recipes apply, in order of preference.
        means: harmonic means of two tests, by name.
        shots: default numbers of shots of a grid.
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
        """Whether a test has classes that were not learned, which rules out class-bound methods."""
        return self.targets == "own" or any(test.classes != self.train for test in self.tests.values())

    def summary(self, metrics: dict[str, dict[str, Any]]) -> dict[str, float]:
        """Return the harmonic means of tests and the mean accuracy on the targets, in percent, by name."""
        numbers = {
            name: harmonic_mean(metrics[one]["accuracy"], metrics[other]["accuracy"])
            for name, (one, other) in self.means.items()
        }
        if self.targets:
            targets = [values["accuracy"] for name, values in metrics.items() if name not in self.tests]
            numbers["target_average"] = sum(targets) / len(targets)
        return numbers


# Recipes that were tuned to generalize come before those tuned on the learned classes.
_ELSEWHERE = ("cross-dataset", "base-to-new", "few-shot")

PROTOCOLS: dict[str, Protocol] = {
    "few-shot": Protocol(
        about="learn all classes and test them",
        train="all",
        tests={"test": Evaluation()},
        recipes=("few-shot",),
        shots=(1, 2, 4, 8, 16),
    ),
    "base-to-new": Protocol(
        about="learn the first half of the classes (base); test base and new classes, separately and among all classes",
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
        about="learn all classes of one dataset; test it and other datasets, whose classes may differ",
        train="all",
        tests={SOURCE: Evaluation()},
        recipes=_ELSEWHERE,
        targets="own",
    ),
    "domain-generalization": Protocol(
        about="learn all classes in one domain; test it and other domains with the same classes or some of them",
        train="all",
        tests={SOURCE: Evaluation()},
        recipes=("domain-generalization", *_ELSEWHERE),
        targets="trained",
    ),
}


@overload
def harmonic_mean(base: float, new: float) -> float: ...
@overload
def harmonic_mean(base: "NDArray[np.float64]", new: "NDArray[np.float64]") -> "NDArray[np.float64]": ...
def harmonic_mean(base: Any, new: Any) -> Any:
    """Return the harmonic mean of two non-negative accuracies, or of arrays of equal shape; 0 where either is 0."""
    total = base + new
    return 2 * (base * new) / (total + (total == 0))
