"""Task of a run: its loaded backbone, training images and tests."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from rich.markup import escape

from vlprompt.backbones.backbone import Backbone, load_backbone, resolve_device
from vlprompt.backbones.sources.automatic import automatic_choice
from vlprompt.config.protocols import PROTOCOLS
from vlprompt.config.resolve import names_backbone
from vlprompt.config.schema import AUGMENTATION, DataConfig, RunConfig
from vlprompt.data.dataset import Dataset
from vlprompt.data.loading import Rows, load_dataset
from vlprompt.errors import VLPromptError
from vlprompt.experiments.evaluate import describe_tests, new_names
from vlprompt.methods.base import Method
from vlprompt.methods.create import create_method
from vlprompt.runs.record import EvaluationRecord
from vlprompt.runtimes.image_encoder import check_encoder
from vlprompt.training.distributed import check_devices
from vlprompt.training.fit import check_tensorboard
from vlprompt.utils.progress import Reporter
from vlprompt.utils.seeds import derived_seed


@dataclass(frozen=True)
class Task:
    """Configuration of a run with its loaded backbone and datasets.

    Attributes:
        config: complete configuration, with template and targets filled in.
        backbone: frozen backbone.
        pool: dataset before shots are drawn.
        dataset: `pool` with the drawn shots as training images.
        shots: part of `dataset` with the classes to learn.
        targets: other datasets to test on, by the names of their tests.
        tests: dataset, content hash and size of each test, by name.
    """

    config: RunConfig
    backbone: Backbone
    pool: Dataset
    dataset: Dataset
    shots: Dataset
    targets: dict[str, Dataset]
    tests: dict[str, EvaluationRecord]

    def with_config(self, config: RunConfig) -> "Task":
        """Return the task with another configuration for the same images, such as another method."""
        data = config.data.model_copy(update={"targets": self.config.data.targets})
        config = config.model_copy(update={"data": data}).with_backbone_options(self.backbone.settings)
        return replace(self, config=_complete(config, self.pool, self.shots))

    @property
    def result_hash(self) -> str:
        """Hash of everything that determines the result."""
        tests = {name: test.hash for name, test in self.tests.items()}
        return self.config.result_hash(self.backbone.weight_hash, self.shots.learned.content_hash, tests)

    @property
    def training_hash(self) -> str:
        """Hash of everything that determines the learned prompts."""
        return self.config.training_hash(self.backbone.weight_hash, self.shots.learned.content_hash)

    def method(self) -> Method[Any]:
        """Create the method for the classes to learn, initialized from the run's seed."""
        config = self.config
        torch.manual_seed(derived_seed("start", config.seed))
        method = create_method(config.method.name, self.backbone, self.shots.class_names, **config.method.options)
        method.set_epochs(config.optim.epochs)
        return method

    def cannot_name_new(self, method: Method[Any]) -> bool:
        """Return whether the protocol tests new classes that the class-bound method cannot name."""
        return method.class_bound and PROTOCOLS[self.config.protocol].names_new

    def check(self, method: Method[Any]) -> None:
        """Raise VLPromptError if the method cannot run the protocol's tests or encode their class names."""
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
    """Load the backbone and the datasets of a configuration.

    Args:
        config: resolved configuration (`resolve_config`).
        backbone: backbone of `config`, if already loaded.
        pools: datasets that are already loaded, by source.

    Raises:
        VLPromptError: the backbone or a dataset cannot be loaded, or a test has no images.
    """
    runtime, data = config.runtime, config.data
    # Fast checks first, before images are read and weights are loaded.
    device = resolve_device(runtime.device, config.backbone.precision)
    if data.view_precision:
        check_encoder(data.view_precision, config.backbone.precision, device)
    check_tensorboard(runtime)
    if runtime.threads:
        torch.set_num_threads(runtime.threads)
    pool = (pools or {}).get(data.source) or load_pool(data)
    targets = load_targets(config, pool, pools)
    tests = describe_tests(config.protocol, pool, targets)
    backbone = backbone or load_configured(config)
    if ignored := [name for name in config.backbone.options if name not in backbone.settings]:
        raise VLPromptError(
            f"`backbone.{ignored[0]}` applies when a backbone is loaded; pass it to `load_backbone` as `{ignored[0]}`"
        )
    config = config.with_backbone_options(backbone.settings)
    backbone.set_rounding()
    backbone.text.chunk_size, backbone.text.layout = runtime.class_chunk or "auto", runtime.text_layout
    drawn = pool.few_shot(data.shots, config.seed)
    shots = drawn.subset(PROTOCOLS[config.protocol].train)
    if targets and not data.targets:
        config = config.model_copy(update={"data": data.model_copy(update={"targets": pool.shifted})})
    return Task(_complete(config, pool, shots), backbone, pool, drawn, shots, targets, tests)


def load_configured(config: RunConfig) -> Backbone:
    """Load the backbone of a configuration."""
    section = config.backbone
    return load_backbone(section.source, section.precision, config.runtime.device, **section.options)


def say_backbone(reporter: Reporter, recipe: str | None, settings: Mapping[str, Any]) -> None:
    """Print which backbone "auto" stands for and why, unless the settings or the recipe name one."""
    if not names_backbone(recipe=recipe, settings=settings):
        reporter.say(escape(automatic_choice()))


def open_tasks(configs: Iterable[RunConfig], backbone: Backbone, pools: dict[str, Dataset]) -> Iterator[Task]:
    """Yield the task of each configuration of a grid, adding newly loaded targets to `pools`.

    Consecutive configurations with the same images share one draw, which takes seconds for ImageNet.

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


def _complete(config: RunConfig, pool: Dataset, shots: Dataset) -> RunConfig:
    """Fill in what depends on the data: the template, and the number of epochs."""
    return config.with_template(pool.template).with_min_steps(len(shots.train))


def load_pool(data: DataConfig, source: str | Path | Rows | None = None) -> Dataset:
    """Load the configured dataset, or another source with the same settings, without drawing shots."""
    source = data.source if source is None else source
    folder = isinstance(source, str | Path) and (str(source) == data.source or Path(source).expanduser().is_dir())
    return load_dataset(
        source,
        split_seed=data.split_seed,
        name_map=None if data.name_map is None else Path(data.name_map),
        root=data.root,
        exclude=data.exclude if folder else (),
    )


def load_targets(config: RunConfig, pool: Dataset, pools: Mapping[str, Dataset] | None = None) -> dict[str, Dataset]:
    """Load the other datasets to test on, by name, which is also the name of their test.

    Args:
        config: configuration of the run. Without targets, `pool.shifted` is used if the protocol allows it.
        pool: source dataset.
        pools: datasets that are already loaded, by source.

    Raises:
        VLPromptError: targets are missing or not allowed, share the name of another test, or have classes that the
            protocol does not allow.
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
            f"`protocol` {config.protocol!r} needs datasets to test on besides {pool.name!r}; pass them as `targets`"
        )
    targets: dict[str, Dataset] = {}
    for source in sources:
        if source == config.data.source:
            raise VLPromptError(f"`targets` {source} is the source dataset, which is always tested; leave it out")
        target = (pools or {}).get(source) or load_pool(config.data, source)
        if target.name in (*protocol.tests, *targets):
            raise VLPromptError(f"`targets` {source}: another test is already named {target.name!r}; rename the folder")
        unknown = set(target.class_names) - set(pool.class_names)
        if protocol.targets == "trained" and unknown:
            raise VLPromptError(
                f"`targets` {source}: {pool.name!r} has no class {min(unknown)!r}, but `protocol` {config.protocol!r} "
                "tests only learned classes; use cross-dataset"
            )
        targets[target.name] = target
    return targets


def on_data(
    config: RunConfig, data: str | None, *, name_map: str | None, root: str | None, exclude: Sequence[str] = ()
) -> RunConfig:
    """Return a configuration with another dataset or another root folder.

    Args:
        config: complete configuration of a run.
        data: another dataset to test on, with all of its classes; None for the run's own.
        name_map: file that maps folder names of `data` to class names.
        root: folder of the named datasets; None for the recorded one.
        exclude: patterns of files and folders to leave out of `data`.

    Raises:
        VLPromptError: `exclude` is given without `data`.
    """
    changes: dict[str, Any] = {} if root is None else {"root": root}
    if data is not None:
        changes |= {"source": data, "name_map": name_map, "targets": (), "exclude": tuple(exclude)}
        config = config.model_copy(update={"protocol": "few-shot"})
    elif exclude:
        raise VLPromptError("`exclude` applies only to another dataset; pass one as `data`")
    return config.model_copy(update={"data": config.data.model_copy(update=changes)})
