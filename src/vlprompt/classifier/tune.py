"""From a folder of pictures to a classifier, in one call."""

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from vlprompt.backbones.backbone import Backbone, load_backbone
from vlprompt.classifier.classifier import Classifier, load
from vlprompt.config.resolve import resolve_config
from vlprompt.data.dataset import Dataset
from vlprompt.errors import VLPromptError
from vlprompt.experiments.run import run_experiment
from vlprompt.experiments.task import load_pool
from vlprompt.utils.progress import Reporter


def tune(
    data: str | Path | Dataset,
    *,
    method: str | None = None,
    backbone: str | Backbone = "embedded",
    shots: int | None = None,
    seed: int | None = None,
    recipe: str | None = None,
    settings: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    device: str = "auto",
    quiet: bool = False,
) -> Classifier:
    """Learn prompts for the classes of some pictures.

    Args:
        data: a folder with a sub-folder of pictures for each class, or whatever else `load_dataset` takes, or what it
            returned.
        method: one of `list_methods()`; None for the recipe's, or "dapt".
        backbone: what `load_backbone` takes, or what it returned.
        shots: training images of each class, drawn; None for the recipe's 16. A class with fewer gives all of its own.
        seed: of the draw and of everything else that is random.
        recipe: settings to start from: None for the method's own, "unified", the name of another or of a set such as
            "dapt/published", or a .yaml file.
        settings: any others, by their dotted names: `{"optim.epochs": 20, "method.beta_text": 0.1}`.
        out: folder of the run, which keeps metrics, history and predictions. None: it goes when this call returns, and
            `Classifier.save` keeps the prompts; an interrupted call leaves nothing.
        resume: go on with what `out` holds, if it was interrupted; take it as it is, if it is finished.
        device: as in `load_backbone`, if the backbone is not loaded yet.
        quiet: show no progress.

    Returns:
        the classifier. Its `record` has the metrics on the test images, where there are any.

    Raises:
        VLPromptError: names the option that is wrong, and what it takes.
    """
    if resume and out is None:
        raise VLPromptError("resume=True needs out, the folder of the run that is to go on")
    given: dict[str, Any] = {"data.shots": shots, "seed": seed, "runtime.device": device}
    given["data.source"] = data.source or data.name if isinstance(data, Dataset) else str(data)
    loaded = backbone if isinstance(backbone, Backbone) else None
    given["backbone.source"] = loaded.source if loaded else backbone
    given["backbone.precision"] = loaded.precision if loaded else None
    config = resolve_config(method=method, recipe=recipe, settings={**given, **(settings or {})})
    # A mistake in the data is said before weights are loaded.
    pools = {config.data.source: data if isinstance(data, Dataset) else load_pool(config.data)}
    loaded = loaded or load_backbone(config.backbone.source, config.backbone.precision, config.runtime.device)
    with TemporaryDirectory(prefix="vlprompt-") as temporary:
        folder = Path(temporary) / "run" if out is None else Path(out)
        run_experiment(config, folder, resume=resume, reporter=Reporter(quiet=quiet), backbone=loaded, pools=pools)
        return load(folder, backbone=loaded)
