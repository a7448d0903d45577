"""Select the images that a run is inspected on."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from vlprompt.config.protocols import PROTOCOLS
from vlprompt.config.schema import RunConfig
from vlprompt.data.dataset import Dataset, Item
from vlprompt.data.sampling import spaced
from vlprompt.errors import VLPromptError
from vlprompt.experiments.evaluate import has_changed
from vlprompt.experiments.task import load_pool, on_data
from vlprompt.runs.record import RunRecord


@dataclass(frozen=True)
class Images:
    """Images that a run is inspected on.

    Attributes:
        dataset: Dataset with the selected test images, and with the shots for prototypes as training images.
        count: Number of all test images of these classes.
        config: Configuration of the run, with this dataset.
        changed: Whether the run's own data has changed since the run.
    """

    dataset: Dataset
    count: int
    config: RunConfig
    changed: bool


def find_images(
    record: RunRecord,
    data: str | None,
    *,
    name_map: str | None,
    root: str | None,
    limit: int,
    exclude: Sequence[str] = (),
) -> Images:
    """Select test images of a run's training classes, or of another dataset.

    Args:
        record: Record of the run.
        data: Name or path of a dataset; None for the run's own.
        name_map: File that maps folder names of the dataset to class names.
        root: Folder of the named datasets; None for the recorded one.
        limit: Maximum number of test images and of shots, see `evenly`.
        exclude: Patterns of files and folders to leave out of the dataset.

    Raises:
        VLPromptError: The data cannot be found, or the run has no data of its own.
    """
    if data is None and not record.has_data:
        raise VLPromptError(f"the run was {record.status} without images; pass a dataset as `data`")
    config = on_data(record.config, data, name_map=name_map, root=root, exclude=exclude)
    pool = load_pool(config.data)
    learned = pool.few_shot(config.data.shots, config.seed).subset(PROTOCOLS[config.protocol].train)
    if not learned.test:
        raise VLPromptError(
            f"dataset {pool.name!r} has no test images of these classes; pass another dataset as `data`"
        )
    return Images(
        dataset=replace(learned, train=evenly(learned.train, limit), test=evenly(learned.test, limit)),
        count=len(learned.test),
        config=config,
        changed=data is None and has_changed(record, pool),
    )


def evenly(items: Sequence[Item], limit: int) -> tuple[Item, ...]:
    """Select at most `limit` items (0: all) in order, equally many per class, but at least one.

    The items of a class are spread evenly, since neighbors may be similar.
    """
    if not limit or len(items) <= limit:
        return tuple(items)
    by_class: dict[int, list[int]] = defaultdict(list)
    for place, item in enumerate(items):
        by_class[item.label].append(place)
    each = max(1, limit // len(by_class))
    chosen = [places[number] for places in by_class.values() for number in spaced(len(places), each)]
    return tuple(items[place] for place in sorted(chosen))
