"""Which images a run is inspected on."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from vlprompt.config.protocols import PROTOCOLS
from vlprompt.config.schema import RunConfig
from vlprompt.data.dataset import Dataset, Item
from vlprompt.data.sampling import spaced
from vlprompt.errors import VLPromptError
from vlprompt.experiments.task import load_pool, on_data
from vlprompt.runs.record import RunRecord


@dataclass(frozen=True)
class Images:
    """Images of classes.

    Attributes:
        dataset: its test images are those that are looked at, its training images the shots of the prototypes.
        count: how many test images of these classes there are in all.
        config: of the run, with this data.
        changed: whether the data has the name of the run's own and is not what it was then.
    """

    dataset: Dataset
    count: int
    config: RunConfig
    changed: bool


def find_images(
    record: RunRecord, data: str | None, *, class_names: str | None, root: str | None, limit: int
) -> Images:
    """The run's own test images of the classes that it learned, or those of other data.

    Args:
        record: of the run.
        data: a dataset's name or path; None for the run's own.
        class_names: file that maps that dataset's folder names to words.
        root: folder of the datasets, where it is another one than the run's.
        limit: how many test images and how many shots, see `evenly`.

    Raises:
        VLPromptError: the data is not there, or the run has none of its own.
    """
    if data is None and not record.has_data:
        raise VLPromptError(f"the run was {record.status} without images of its own; name some with --data")
    config = on_data(record.config, data, name_map=class_names, root=root)
    pool = load_pool(config.data)
    learned = pool.few_shot(config.data.shots, config.seed).subset(PROTOCOLS[config.protocol].train)
    if not learned.test:
        raise VLPromptError(f"dataset {pool.name!r} has no test images of these classes; name another with --data")
    return Images(
        dataset=replace(learned, train=evenly(learned.train, limit), test=evenly(learned.test, limit)),
        count=len(learned.test),
        config=config,
        changed=data is None and record.split.pool not in ("", pool.split_hash()),
    )


def evenly(items: Sequence[Item], limit: int) -> tuple[Item, ...]:
    """At most `limit` items (0: all), as many of each class as of the others, but at least one; in their order.

    They are spread over those of a class, since neighbors may be alike.
    """
    if not limit or len(items) <= limit:
        return tuple(items)
    by_class: dict[int, list[int]] = defaultdict(list)
    for place, item in enumerate(items):
        by_class[item.label].append(place)
    each = max(1, limit // len(by_class))
    chosen = [places[number] for places in by_class.values() for number in spaced(len(places), each)]
    return tuple(items[place] for place in sorted(chosen))
