"""A run's ingredients, loaded: backbone, shots, tests."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from vlprompt.backbones.backbone import Backbone, load_backbone, resolve_device
from vlprompt.config.protocols import PROTOCOLS
from vlprompt.config.schema import DataConfig, RunConfig
from vlprompt.data.dataset import Dataset
from vlprompt.data.loading import load_dataset
from vlprompt.errors import VLPromptError
from vlprompt.experiments.testing import describe_tests, new_names
from vlprompt.methods.base import Method, as_words, create_method
from vlprompt.runs.record import EvaluationRecord
from vlprompt.training.distributed import check_devices
from vlprompt.training.tensorboard import check_tensorboard
from vlprompt.utils.seeds import derived_seed


@dataclass(frozen=True)
class Task:
    """A run's ingredients, loaded.

    Attributes:
        config: the run, its template and targets filled in.
        backbone: frozen.
        pool: all images, which shots are drawn from.
        dataset: the drawn shots of all classes, and all test images.
        shots: the same of the classes that are learned.
        targets: other datasets that are tested on, by the names of their tests.
        tests: what every test is of, by its name.
    """

    config: RunConfig
    backbone: Backbone
    pool: Dataset
    dataset: Dataset
    shots: Dataset
    targets: dict[str, Dataset]
    tests: dict[str, EvaluationRecord]

    def of(self, config: RunConfig) -> "Task":
        """The task of another method on the same images."""
        data = config.data.model_copy(update={"targets": self.config.data.targets})
        config = config.model_copy(update={"data": data})
        return replace(self, config=config.with_template(self.pool.template))

    @property
    def result_hash(self) -> str:
        """Of everything that the result depends on."""
        tests = {name: test.hash for name, test in self.tests.items()}
        return self.config.result_hash(self.backbone.weight_hash, self.shots.learned.content_hash, tests)

    @property
    def training_hash(self) -> str:
        """Of everything that the learned prompts depend on."""
        return self.config.training_hash(self.backbone.weight_hash, self.shots.learned.content_hash)

    def method(self) -> Method[Any]:
        """The configured method for the classes that are learned, its parameters drawn from the run's seed."""
        config = self.config
        torch.manual_seed(derived_seed("start", config.seed))
        method = create_method(config.method.name, self.backbone, self.shots.class_names, **config.method.options)
        method.set_epochs(config.optim.epochs)
        return method

    def cannot_name_new(self, method: Method[Any]) -> bool:
        """Whether the protocol tests new classes, and the method has something for its own alone."""
        return method.class_bound and PROTOCOLS[self.config.protocol].names_new

    def check(self, method: Method[Any]) -> None:
        """VLPromptError where the method cannot do the protocol's tests, or cannot read the names in them."""
        if self.cannot_name_new(method):
            raise VLPromptError(
                f"method {method.name!r} with these options cannot name new classes, which protocol "
                f"{self.config.protocol!r} tests; use protocol few-shot or domain-generalization, or options that "
                "share the prompts among classes"
            )
        check_devices(self.config, len(self.shots.train), self.backbone.device)
        for dataset in (self.dataset, *self.targets.values()):
            if names := new_names(method, dataset):
                method.check_names(names)


def on_data(config: RunConfig, data: str | None, *, class_names: str | None, root: str | None) -> RunConfig:
    """A run's configuration for images that lie elsewhere, or are others.

    Args:
        config: of the run.
        data: another dataset, all of whose classes are tested; None for the run's own.
        class_names: file that maps that dataset's folder names to words.
        root: folder of the datasets, where it is another one than the run's.
    """
    changes: dict[str, Any] = {} if root is None else {"root": root}
    if data is not None:
        changes |= {"source": data, "class_names": class_names, "targets": ()}
        config = config.model_copy(update={"protocol": "few-shot"})
    return config.model_copy(update={"data": config.data.model_copy(update=changes)})


def load_pool(data: DataConfig, source: str | None = None) -> Dataset:
    """The configured dataset, or another one under the same settings, whole, before shots are drawn from it."""
    return load_dataset(
        source or data.source,
        split_seed=data.split_seed,
        name_map=None if data.class_names is None else Path(data.class_names),
        root=data.root,
    )


def load_targets(config: RunConfig, pool: Dataset, pools: Mapping[str, Dataset] | None = None) -> dict[str, Dataset]:
    """The datasets that are tested on besides, by their names, which are those of their tests.

    Args:
        config: of the run; where it names no targets, they are `Dataset.shifted`, if the protocol tests those.
        pool: the dataset that is learned from.
        pools: datasets that are loaded already, by source.

    Raises:
        VLPromptError: the protocol needs targets and there are none, or has none and they are given; one of them has
            no test images, the name of another, or classes that the protocol does not allow.
    """
    protocol, given = PROTOCOLS[config.protocol], config.data.targets
    if protocol.targets is None:
        if given:
            raise VLPromptError(
                f"--targets {','.join(given)}: protocol {config.protocol!r} tests the dataset it learns from alone; "
                "leave them out, or use cross-dataset or domain-generalization"
            )
        return {}
    sources = given or (pool.shifted if protocol.targets == "trained" else ())
    if not sources:
        raise VLPromptError(
            f"protocol {config.protocol!r} tests other datasets than {pool.name!r}; name them with --targets A,B"
        )
    targets: dict[str, Dataset] = {}
    for source in sources:
        if source == config.data.source:
            raise VLPromptError(
                f"--targets {source} is the dataset that is learned from, and tested anyway; leave it out"
            )
        target = (pools or {}).get(source) or load_pool(config.data, source)
        if target.name in (*protocol.tests, *targets):
            raise VLPromptError(f"--targets {source}: two tests would be called {target.name!r}; rename a folder")
        lacking = set(as_words(target.class_names)) - set(as_words(pool.class_names))
        if protocol.targets == "trained" and lacking:
            raise VLPromptError(
                f"--targets {source}: {pool.name!r} has no class {min(lacking)!r}, and protocol {config.protocol!r} "
                "tests classes that were learned; use cross-dataset"
            )
        targets[target.name] = target
    return targets


def open_task(config: RunConfig, backbone: Backbone | None = None, pools: Mapping[str, Dataset] | None = None) -> Task:
    """Load what a run needs. A backbone, and datasets by their source, that are loaded already can be given."""
    runtime, data = config.runtime, config.data
    # Before images are read and weights are loaded.
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
