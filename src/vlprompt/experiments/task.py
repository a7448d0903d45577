"""Everything that a run needs, loaded: backbone, training images, tests."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from vlprompt.backbones.backbone import Backbone, load_backbone, resolve_device
from vlprompt.config.protocols import PROTOCOLS
from vlprompt.config.schema import AUGMENTATION, DataConfig, RunConfig
from vlprompt.data.dataset import Dataset
from vlprompt.data.loading import load_dataset
from vlprompt.errors import VLPromptError
from vlprompt.experiments.evaluate import describe_tests, new_names
from vlprompt.methods.base import Method
from vlprompt.methods.create import create_method
from vlprompt.runs.record import EvaluationRecord
from vlprompt.training.distributed import check_devices
from vlprompt.training.fit import check_tensorboard
from vlprompt.utils.seeds import derived_seed


@dataclass(frozen=True)
class Task:
    """Everything that a run needs, loaded.

    Attributes:
        config: configuration of the run, with template and targets filled in.
        backbone: the frozen towers.
        pool: all images, from which shots are drawn.
        dataset: the drawn shots of all classes, and all test images.
        shots: the part of `dataset` with the classes that are learned.
        targets: further datasets to test on, by the names of their tests.
        tests: what each test consists of, by its name.
    """

    config: RunConfig
    backbone: Backbone
    pool: Dataset
    dataset: Dataset
    shots: Dataset
    targets: dict[str, Dataset]
    tests: dict[str, EvaluationRecord]

    def with_config(self, config: RunConfig) -> "Task":
        """Return the task for another configuration of the same images, such as another method's."""
        data = config.data.model_copy(update={"targets": self.config.data.targets})
        config = config.model_copy(update={"data": data})
        return replace(self, config=config.with_template(self.pool.template))

    @property
    def result_hash(self) -> str:
        """Hash over everything that the result depends on."""
        tests = {name: test.hash for name, test in self.tests.items()}
        return self.config.result_hash(self.backbone.weight_hash, self.shots.learned.content_hash, tests)

    @property
    def training_hash(self) -> str:
        """Hash over everything that the learned prompts depend on."""
        return self.config.training_hash(self.backbone.weight_hash, self.shots.learned.content_hash)

    def method(self) -> Method[Any]:
        """Create the method for the learned classes, with parameters initialized from the run's seed."""
        config = self.config
        torch.manual_seed(derived_seed("start", config.seed))
        method = create_method(config.method.name, self.backbone, self.shots.class_names, **config.method.options)
        method.set_epochs(config.optim.epochs)
        return method

    def cannot_name_new(self, method: Method[Any]) -> bool:
        """Return whether the protocol tests new classes and the method is bound to those it has learned."""
        return method.class_bound and PROTOCOLS[self.config.protocol].names_new

    def check(self, method: Method[Any]) -> None:
        """Raise VLPromptError if the method cannot run the protocol's tests, or cannot read their class names."""
        if self.cannot_name_new(method):
            raise VLPromptError(
                f"`method` {method.name!r} with these options cannot name new classes, which `protocol` "
                f"{self.config.protocol!r} tests; use few-shot or domain-generalization, or options that share prompts "
                "between classes"
            )
        check_devices(self.config, len(self.shots.train), self.backbone.device)
        for dataset in (self.dataset, *self.targets.values()):
            if names := new_names(method, dataset):
                method.check_names(names)


def open_task(config: RunConfig, backbone: Backbone | None = None, pools: Mapping[str, Dataset] | None = None) -> Task:
    """Load everything that a run needs.

    Args:
        config: configuration of the run, resolved.
        backbone: the run's backbone, if it is loaded already.
        pools: datasets that are loaded already, by their source.
    """
    runtime, data = config.runtime, config.data
    # First what can fail at once, before images are read and weights are loaded.
    resolve_device(runtime.device, config.backbone.precision)
    check_tensorboard(runtime)
    if runtime.threads:
        torch.set_num_threads(runtime.threads)
    pool = (pools or {}).get(data.source) or load_pool(data)
    targets = load_targets(config, pool, pools)
    tests = describe_tests(config.protocol, pool, targets)
    backbone = backbone or load_backbone(config.backbone.source, config.backbone.precision, runtime.device)
    backbone.text.chunk_size = runtime.class_chunk
    drawn = pool.few_shot(data.shots, config.seed)
    shots = drawn.subset(PROTOCOLS[config.protocol].train)
    if targets and not data.targets:
        config = config.model_copy(update={"data": data.model_copy(update={"targets": pool.shifted})})
    return Task(config.with_template(pool.template), backbone, pool, drawn, shots, targets, tests)


def open_tasks(configs: Iterable[RunConfig], backbone: Backbone, pools: dict[str, Dataset]) -> Iterator[Task]:
    """Load what each cell of a grid needs; targets that had to be loaded are added to `pools`.

    Consecutive configurations of the same images share one draw, which takes seconds for ImageNet.

    Raises:
        VLPromptError: a dataset has no test images.
    """
    drawn, task = "", None
    for config in configs:
        images = f"{config.seed} {config.data.model_dump_json(exclude=set(AUGMENTATION))}"
        if task is None or images != drawn:
            task = open_task(config, backbone, pools)
            if not task.tests:
                raise VLPromptError(f"dataset {task.dataset.name!r} has no test images, which a grid needs; add some")
            pools.update(zip(task.config.data.targets, task.targets.values(), strict=True))
            drawn = images
        else:
            task = task.with_config(config)
        yield task


def load_pool(data: DataConfig, source: str | None = None) -> Dataset:
    """Load the configured dataset, or another source with the same settings, before shots are drawn."""
    return load_dataset(
        source or data.source,
        split_seed=data.split_seed,
        name_map=None if data.name_map is None else Path(data.name_map),
        root=data.root,
    )


def load_targets(config: RunConfig, pool: Dataset, pools: Mapping[str, Dataset] | None = None) -> dict[str, Dataset]:
    """Load the further datasets to test on, by their names, which are those of their tests.

    Args:
        config: configuration of the run. If it names no targets, `Dataset.shifted` stands in, if the protocol allows.
        pool: dataset that is learned from.
        pools: datasets that are loaded already, by their source.

    Raises:
        VLPromptError: targets are missing or not allowed, have the name of another test or no test images, or have
            classes that the protocol does not allow.
    """
    protocol, given = PROTOCOLS[config.protocol], config.data.targets
    if protocol.targets is None:
        if given:
            raise VLPromptError(
                f"`targets` {','.join(given)}: `protocol` {config.protocol!r} tests only the dataset it learns from; "
                "leave them out, or use cross-dataset or domain-generalization"
            )
        return {}
    sources = given or (pool.shifted if protocol.targets == "trained" else ())
    if not sources:
        raise VLPromptError(
            f"`protocol` {config.protocol!r} tests other datasets than {pool.name!r}; name them as `targets`"
        )
    targets: dict[str, Dataset] = {}
    for source in sources:
        if source == config.data.source:
            raise VLPromptError(
                f"`targets` {source}: this is the dataset that is learned from and is tested anyway; leave it out"
            )
        target = (pools or {}).get(source) or load_pool(config.data, source)
        if target.name in (*protocol.tests, *targets):
            raise VLPromptError(f"`targets` {source}: two tests would be called {target.name!r}; rename a folder")
        unknown = set(target.class_names) - set(pool.class_names)
        if protocol.targets == "trained" and unknown:
            raise VLPromptError(
                f"`targets` {source}: {pool.name!r} has no class {min(unknown)!r}, but `protocol` {config.protocol!r} "
                "tests only learned classes; use cross-dataset"
            )
        targets[target.name] = target
    return targets


def on_data(config: RunConfig, data: str | None, *, name_map: str | None, root: str | None) -> RunConfig:
    """Return a run's configuration with other data, or with its own data in another place.

    Args:
        config: configuration of the run.
        data: another dataset, all of whose classes are tested; None for the run's own.
        name_map: file that maps that dataset's folder names to class names.
        root: folder that holds the datasets, if it is not the run's.
    """
    changes: dict[str, Any] = {} if root is None else {"root": root}
    if data is not None:
        changes |= {"source": data, "name_map": name_map, "targets": ()}
        config = config.model_copy(update={"protocol": "few-shot"})
    return config.model_copy(update={"data": config.data.model_copy(update=changes)})
