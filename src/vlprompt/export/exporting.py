"""Export a run as a file for onnxruntime or OpenVINO, which is compared with PyTorch before it is written."""

import json
import logging
import math
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from torch import nn

from vlprompt.backbones.backbone import state_hash
from vlprompt.classifier.classifier import Classifier
from vlprompt.data.transforms import THIN
from vlprompt.errors import VLPromptError
from vlprompt.export.agreement import SAME, Agreement, Reference
from vlprompt.export.deployed import Deployed, trace_method
from vlprompt.runs.restore import restore
from vlprompt.runtimes.exported_model import (
    FORMATS,
    LOGITS,
    PROBABILITIES,
    PROMPTS_HASH,
    WEIGHT_HASH,
    check_runtime,
    model_file,
    open_model,
)
from vlprompt.runtimes.onnx import LIMIT, to_onnx
from vlprompt.runtimes.openvino import to_openvino
from vlprompt.utils.files import unfinished
from vlprompt.utils.progress import Reporter

logger = logging.getLogger("vlprompt")

WRITERS = {"onnx": to_onnx, "openvino": to_openvino}
# Images to compare on: in fp32 logits must be equal; in other precisions the share with the same class is estimated.
EXACT_IMAGES, IMAGES = 64, 256


@dataclass(frozen=True)
class Export:
    """Exported model and its agreement with PyTorch.

    Attributes:
        file: .onnx file, or .xml file with its .bin file beside it.
        size: size in bytes, of both files.
        format: format of the model.
        precision: precision of the model.
        agreement: differences between its predictions and PyTorch's in fp32.
        speed: images per second on the compared images relative to PyTorch's, with as many threads.
        fastest: runtime and precision of the fastest one of PyTorch ("torch", "fp32") and all models of these prompts
            in the run folder, on the same images; None if the file was written elsewhere.
    """

    file: Path
    size: int
    format: str
    precision: str
    agreement: Agreement
    speed: float
    fastest: tuple[str, str] | None


def export_run(
    run: str | Path,
    out: str | Path | None = None,
    *,
    format: str = "onnx",
    precision: str = "fp32",
    images: Sequence[str] = (),
    overwrite: bool = False,
    backbone: str | Path | None = None,
    quiet: bool = False,
) -> Export:
    """Write a run as a model for another runtime, after comparing its predictions on real images with PyTorch's.

    Args:
        run: run folder.
        out: file to write; default: `model-PRECISION.onnx` or `model-PRECISION.xml` in the run folder.
        format: "onnx" for onnxruntime, or "openvino".
        precision: "fp32", "fp16" (only onnx), "bf16" (only openvino) or "int8". The last quantizes matrix products;
            convolutions stay in floating point.
        images: images to compare on, as files, folders or patterns; default: the run's test images.
        overwrite: replace an existing file.
        backbone: name or path of the run's backbone; None for the recorded one.
        quiet: hide progress.

    Returns:
        The file, its agreement with PyTorch and its speed.

    Raises:
        VLPromptError: the extra `export` or `openvino` is missing, an argument is wrong, there are no images, the model
            exceeds 2 GB, the method cannot be traced, or predictions are not PyTorch's: they differ in fp32, are not
            finite, or fewer than 95% of the images have the same class. No file is written then.

    Examples:
        >>> from vlprompt.export.exporting import export_run
        >>> export_run("runs/mine", "pets.onnx", precision="fp16", images=["my_images"], quiet=True).file.name
        'pets.onnx'
    """
    files = _check_arguments(Path(run), out, format, precision, overwrite)
    classifier = Classifier(*restore(run, device="cpu", backbone=backbone, precision="fp32"))
    _check_size(classifier, precision)
    reporter = Reporter(quiet=quiet)
    reference = Reference(classifier, images, EXACT_IMAGES if precision == "fp32" else IMAGES, reporter)

    logger.info("tracing %s on %s", classifier.method.name, classifier.method.backbone.name)
    deployed = Deployed(classifier.method, classifier.temperature).eval()
    if precision == "fp16":
        classifier.method.backbone.model.half()
    about = metadata(classifier, precision)
    contents = WRITERS[format](trace_method(deployed), precision, about)
    with ExitStack() as renaming:  # the last file first, so that no graph is ever beside older weights
        written = [renaming.enter_context(unfinished(*part)) for part in zip(files, contents, strict=True)]
        model = open_model(format, written[0], [LOGITS, PROBABILITIES], written[-1])
        agreement, speed = reference.compare(model, f"{format} {precision}")
        _check_agreement(agreement, precision)
    fastest = _fastest(Path(run), reference, {(format, precision): speed}, about) if out is None else None
    return Export(files[0], sum(map(len, contents)), format, precision, agreement, speed, fastest)


def metadata(classifier: Classifier, precision: str) -> dict[str, str]:
    """Return the model's metadata; `class_names` and `preprocessing` are JSON.

    `docs/export.md` describes each key.
    """
    backbone, record = classifier.method.backbone, classifier.record
    transform = backbone.eval_transform
    preprocessing = {
        "colors": "RGB",
        "size": transform.size,
        "resize": "squash" if transform.squash else "crop",
        "longest": THIN,
        "interpolation": transform.interpolation,
        "mean": transform.mean,
        "std": transform.std,
    }
    if value_range := record.config.data.value_range:
        preprocessing["value_range"] = value_range
    return {
        "class_names": json.dumps(classifier.class_names, ensure_ascii=False),
        "preprocessing": json.dumps(preprocessing),
        "method": classifier.method.name,
        "temperature": repr(classifier.temperature),
        "precision": precision,
        "backbone": record.backbone.name,
        WEIGHT_HASH: record.backbone.weight_hash,
        PROMPTS_HASH: state_hash(classifier.method.state_dict()),
        "run_hash": record.result_hash,
        "vlprompt_version": version("vlprompt"),
    }


def _check_arguments(run: Path, out: str | Path | None, name: str, precision: str, overwrite: bool) -> list[Path]:
    """Return the files to write."""
    if name not in FORMATS:
        raise VLPromptError(f"`format` must be one of {', '.join(FORMATS)}, got {name!r}")
    check_runtime(name, precision, writing=True)
    form = FORMATS[name]
    file = model_file(run, name, precision) if out is None else Path(out)
    if file.is_dir():
        raise VLPromptError(f"`out` {file} is a folder; name a file, such as {file / ('model' + form.suffix)}")
    if name == "openvino" and file.suffix != form.suffix:
        raise VLPromptError(f"`out` {file} must end in {form.suffix} with `format` openvino, which adds a .bin file")
    files = [file, file.with_suffix(".bin")] if name == "openvino" else [file]
    for path in files:
        if path.exists() and not overwrite:
            raise VLPromptError(f"`out` {path} exists; pass `overwrite=True` to replace it, or choose another file")
    return files


def _check_size(classifier: Classifier, precision: str) -> None:
    """Check the size of the traced graph, which is in fp32 unless the model is in fp16."""
    method = classifier.method
    model: Any = method.backbone.model
    exported: nn.Module = model if method.instance_conditional else model.visual
    values = sum(parameter.numel() for parameter in exported.parameters())
    size = (2 if precision == "fp16" else 4) * values
    if size > LIMIT:
        fix = "use `format` onnx in fp16" if 2 * values <= LIMIT else "it does not fit in any precision"
        raise VLPromptError(
            f"`precision` {precision}: {method.backbone.name} takes {size / 1e9:.1f} GB during export, but an .onnx "
            f"file is limited to 2 GB; {fix}"
        )


def _check_agreement(agreement: Agreement, precision: str) -> None:
    if precision == "fp32" and not agreement.exact:
        raise VLPromptError(f"the exported model does not reproduce the tuned one, so it was not written: {agreement}")
    if math.isnan(agreement.probability):
        raise VLPromptError(f"with `precision` {precision} the model's predictions are not finite; use fp32")
    if not agreement.close:
        raise VLPromptError(
            f"with `precision` {precision} fewer than {SAME:.0%} of the images have the same class, so the model was "
            f"not written; choose another precision: {agreement}"
        )


def _fastest(
    run: Path, reference: Reference, measured: dict[tuple[str, str], float], about: dict[str, str]
) -> tuple[str, str]:
    """Measure the run folder's other models of the same prompts, and return the fastest of all and PyTorch."""
    speeds = {("torch", "fp32"): 1.0, **measured}
    for name, form in FORMATS.items():
        for precision in form.precisions:
            file = model_file(run, name, precision)
            if (name, precision) in speeds or not file.is_file():
                continue
            try:
                check_runtime(name, precision)
                model = open_model(name, file, [LOGITS, PROBABILITIES])
                if model.metadata.get(PROMPTS_HASH) == about[PROMPTS_HASH]:
                    agreement, speed = reference.compare(model, f"{name} {precision}")
                    if agreement.close:
                        speeds[name, precision] = speed
            except VLPromptError:  # it cannot be used, so it cannot be recommended
                continue
    return max(speeds, key=lambda key: speeds[key])
