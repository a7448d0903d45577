"""A run's folder turned back into a method with its prompts."""

from pathlib import Path
from typing import Any

from vlprompt.backbones.backbone import Backbone, Precision, load_backbone, resolve_device
from vlprompt.errors import VLPromptError
from vlprompt.methods.base import Method, create_method
from vlprompt.runs.record import RunRecord, read_record
from vlprompt.runs.state import load_prompts


def restore(
    run: str | Path,
    *,
    device: str = "auto",
    backbone: Backbone | str | Path | None = None,
    precision: Precision | None = None,
) -> tuple[RunRecord, Method[Any]]:
    """The record and the tuned method, in eval mode, of a run's folder.

    Args:
        run: the folder.
        device: as in `load_backbone`.
        backbone: the run's own, if it is loaded already, or where its weights lie now.
        precision: as in `load_backbone`; None for the run's.

    Raises:
        VLPromptError: no run there, no prompts yet, or the backbone's weights are not those it was tuned on.
    """
    folder = Path(run)
    record = read_record(folder)
    config = record.config
    if not isinstance(backbone, Backbone):
        backbone = _load(config.backbone.source, backbone, precision or config.backbone.precision, device)
    if backbone.weight_hash != record.backbone.weight_hash:
        raise VLPromptError(
            f"{folder} was tuned on other weights than those of {backbone.source or backbone.name}; "
            "say where its own lie with --backbone"
        )
    backbone.text.chunk_size = config.runtime.class_chunk
    method = create_method(config.method.name, backbone, record.class_names, **config.method.options)
    load_prompts(folder, method, record.prompts_hash)
    if record.classes_now:
        method.set_class_names(record.classes_now)
    return record, method.eval()


def _load(source: str, elsewhere: str | Path | None, precision: Precision, device: str) -> Backbone:
    chosen = resolve_device(device, precision)
    try:
        return load_backbone(elsewhere or source, precision, chosen)
    except VLPromptError as error:
        if elsewhere is not None:
            raise
        raise VLPromptError(f"{error}; if the run's weights lie elsewhere, say where with --backbone") from error
