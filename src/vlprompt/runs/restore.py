"""Restore a tuned method from its run folder."""

import logging
from pathlib import Path
from typing import Any

from vlprompt.backbones.backbone import Backbone, Precision, load_backbone, resolve_device
from vlprompt.errors import VLPromptError
from vlprompt.methods.base import Method
from vlprompt.methods.create import create_method
from vlprompt.runs.record import RunRecord, read_record
from vlprompt.runs.state import load_prompts

logger = logging.getLogger("vlprompt")


def restore(
    run: str | Path,
    *,
    device: str = "auto",
    backbone: Backbone | str | Path | None = None,
    precision: Precision | None = None,
) -> tuple[RunRecord, Method[Any]]:
    """Restore a record and its tuned method, in eval mode, from a run folder.

    Args:
        run: run folder.
        device: device to load the backbone on, see `load_backbone`.
        backbone: the run's backbone if it is loaded already, or the source of its weights if they have moved.
        precision: precision of the backbone; None for the recorded one.

    Returns:
        the record and the method.

    Raises:
        VLPromptError: the folder has no record or no prompts, the method does not accept the recorded options, or the
            backbone has different weights.
    """
    folder = Path(run)
    record = read_record(folder)
    config = record.config
    if not isinstance(backbone, Backbone):
        precision = precision or config.backbone.precision
        if precision == "tf32" and resolve_device(device, "fp32").type != "cuda":
            precision = "fp32"  # the same weights
        backbone = _load(record, backbone, precision, device)
    if backbone.weight_hash != record.backbone.weight_hash:
        raise VLPromptError(
            f"{folder} was tuned with different weights than {backbone.source or backbone.name}; "
            "pass the original ones as `backbone`"
        )
    if difference := _difference(record, backbone):
        logger.warning("%s was tuned with %s, so its predictions differ; tune it again", folder, difference)
    backbone.set_rounding()
    backbone.text.chunk_size = config.runtime.class_chunk or "auto"
    backbone.text.layout = config.runtime.text_layout
    try:
        method = create_method(config.method.name, backbone, record.class_names, **config.method.options)
    except VLPromptError as error:
        raise VLPromptError(f"{folder} cannot be restored ({error})") from error
    load_prompts(folder, method, record.prompts_hash)
    if record.classes_now:
        method.set_class_names(record.classes_now)
    return record, method.eval()


def _difference(record: RunRecord, backbone: Backbone) -> str:
    """Return what the run's backbone differs in from this one with the same weights, or an empty string."""
    recorded, options = record.backbone, record.config.backbone.options
    if recorded.preprocessing is None:  # an older record, whose backbone had the options of its configuration alone
        differing = [name for name, value in backbone.settings.items() if options.get(name) != value]
        return f"another `backbone.{differing[0]}` than {backbone.settings[differing[0]]}" if differing else ""
    if recorded.function_hash != backbone.function_hash:
        return "another activation, or another number of attention heads"
    return "" if recorded.preprocessing == backbone.preprocessing else f"other preprocessing ({recorded.preprocessing})"


def _load(record: RunRecord, moved_to: str | Path | None, precision: Precision, device: str) -> Backbone:
    section, recorded = record.config.backbone, record.backbone.preprocessing
    chosen = resolve_device(device, precision)
    try:
        backbone = load_backbone(moved_to or section.source, precision, chosen, **section.options)
        if recorded in (None, backbone.preprocessing):
            return backbone
        # A file says less about its weights than a tag, so a moved one may be prepared in another way.
        options = {**section.options, "preprocess": recorded}
        return load_backbone(moved_to or section.source, precision, chosen, **options)
    except VLPromptError as error:
        if moved_to is not None:
            raise
        raise VLPromptError(f"{error}; if the run's weights have moved, pass their path as `backbone`") from error
