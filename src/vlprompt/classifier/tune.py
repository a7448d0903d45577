"""Tune a classifier on a folder of images in one call."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from vlprompt.backbones.backbone import Backbone
from vlprompt.classifier.classifier import Classifier, load_classifier
from vlprompt.config.resolve import resolve_config
from vlprompt.data.dataset import Dataset
from vlprompt.data.loading import Rows
from vlprompt.errors import VLPromptError
from vlprompt.experiments.run import run_experiment
from vlprompt.experiments.task import load_configured, load_pool, say_backbone
from vlprompt.utils.progress import Reporter


def tune(
    data: str | Path | Dataset | Rows,
    *,
    method: str | None = None,
    protocol: str | None = None,
    backbone: str | Path | Backbone | None = None,
    shots: int | None = None,
    seed: int | None = None,
    recipe: str | Path | None = None,
    targets: Sequence[str] | None = None,
    name_map: str | Path | None = None,
    root: str | Path | None = None,
    exclude: Sequence[str] = (),
    epochs: int | None = None,
    batch_size: int | None = None,
    lr: float | None = None,
    settings: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    device: str | None = None,
    quiet: bool = False,
) -> Classifier:
    """Learn prompts for the classes of a dataset.

    Arguments that are None fall back to the recipe, and then to the default.

    Args:
        data: folder with one subfolder of images per class, anything else that `load_dataset` takes (such as a data
            frame with the columns path and label), or a `Dataset`.
        method: name of the method, one of `list_methods()`; default: the recipe's, else "dapt", or "coop" on the
            backbone "photos".
        protocol: "few-shot", "base-to-new", "cross-dataset" or "domain-generalization"; default: the recipe's, else
            "few-shot".
        backbone: name or path that `load_backbone` takes, or a loaded `Backbone`; default: "auto", which is "photos"
            if the extra `photos` is installed, else "embedded".
        shots: training images per class, drawn at random; a class with fewer uses all. Default: 16.
        seed: seed of the shots, the initialization, the image order and the augmentation; default: 1.
        recipe: settings to start from: the name of a recipe or of a set of them, such as "unified" or "dapt/published",
            or a .yaml file. Default: the method's own for the backbone ("photos", or "paper").
        targets: names or paths of other datasets to test on, for protocols that do.
        name_map: .json, .yaml, .csv or .tsv file that maps folder names to class names. For a mapping, pass
            `data=load_dataset(folder, name_map=mapping)`.
        root: folder of the named datasets, or of the images of a .jsonl file.
        exclude: shell patterns of files and folders to leave out of a folder, as in `load_dataset`.
        epochs: passes over the shots (`optim.epochs`).
        batch_size: images per step (`optim.batch_size`).
        lr: learning rate at the start of the schedule (`optim.lr`).
        settings: other settings by dotted key, such as `{"method.beta_text": 0.1}`; they override the arguments
            above.
        out: run folder, which keeps metrics, history and predictions. Default: a temporary folder that is removed
            before the call returns; `Classifier.save` keeps the prompts.
        resume: continue the unfinished run in `out`; a finished run is loaded unchanged.
        device: "auto", "cpu", "cuda", "cuda:N" or "mps"; ignored for a loaded `Backbone`. Default: "auto".
        quiet: hide progress.

    Returns:
        The classifier; its `record.metrics` hold the results on the test images, if there are any, and
        `record.baselines` the accuracies of chance, zero-shot and a linear probe on the same shots.

    Raises:
        VLPromptError: an argument is wrong, or the images or weights cannot be read.

    Examples:
        >>> classifier = vlprompt.tune("my_images", backbone="embedded", shots=4, epochs=1, quiet=True)
        >>> classifier.predict("my_images/night/00.png")[0].label
        'night'
    """
    if resume and out is None:
        raise VLPromptError("`resume=True` needs `out`, the folder of the run to continue")
    loaded = backbone if isinstance(backbone, Backbone) else None
    named = _text(recipe)
    settings = {
        "seed": seed,
        "backbone.source": loaded.source if loaded else _text(backbone),
        "backbone.precision": loaded.precision if loaded else None,
        "data.source": _source(data),
        "data.targets": None if targets is None else list(targets),
        "data.root": _text(root),
        "data.name_map": _text(name_map),
        "data.exclude": exclude or None,
        "data.shots": shots,
        "optim.epochs": epochs,
        "optim.batch_size": batch_size,
        "optim.lr": lr,
        "runtime.device": device,
        **(settings or {}),
    }
    config = resolve_config(method=method, protocol=protocol, recipe=named, settings=settings)
    reporter = Reporter(quiet=quiet)
    say_backbone(reporter, named, settings)
    # Read the data before the weights, so that errors in it show up sooner.
    pools = {config.data.source: data if isinstance(data, Dataset) else load_pool(config.data, data)}
    loaded = loaded or load_configured(config)
    with TemporaryDirectory(prefix="vlprompt-") as temporary:
        folder = Path(temporary) / "run" if out is None else Path(out)
        run_experiment(config, folder, resume=resume, reporter=reporter, backbone=loaded, pools=pools, baselines=True)
        classifier = load_classifier(folder, backbone=loaded)
    if out is None:
        classifier.folder = None
    return classifier


def _source(data: str | Path | Dataset | Rows) -> str:
    """Return what a record calls the data."""
    if isinstance(data, Dataset):
        return data.source or data.name
    return str(data) if isinstance(data, str | Path) else "frame"


def _text(value: object) -> str | None:
    return None if value is None else str(value)
