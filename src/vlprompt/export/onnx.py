"""The .onnx file: exported, written, and checked before it takes its name."""

import logging
import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vlprompt.classifier.classifier import Classifier
from vlprompt.errors import VLPromptError
from vlprompt.export.agreement import BATCH, Agreement, check_pixels, compare
from vlprompt.export.graph import Deployed, traced
from vlprompt.export.metadata import metadata
from vlprompt.runs.restore import restore
from vlprompt.utils.files import unfinished

logger = logging.getLogger("vlprompt")

# What a protobuf message, and so a single .onnx file, can hold.
LIMIT = 2**31 - 1
# Bytes of a weight on the way to the file: what is quantized is exported in fp32 first.
PRECISIONS = {"fp32": 4, "fp16": 2, "int8": 4}
# onnxruntime's CPU has no integer convolution.
QUANTIZED = ["MatMul", "Gemm"]
# Share of pictures with the same label below which it is worth a word.
SAME = 0.95


@dataclass(frozen=True)
class Export:
    """What was written.

    Attributes:
        file: the .onnx file.
        size: of it, in bytes.
        precision: of the weights.
        agreement: with PyTorch in fp32.
    """

    file: Path
    size: int
    precision: str
    agreement: Agreement


def export_onnx(
    run: str | Path,
    out: str | Path | None = None,
    *,
    precision: str = "fp32",
    images: Sequence[str] = (),
    overwrite: bool = False,
    backbone: str | Path | None = None,
) -> Export:
    """Write a run as one .onnx file, whose answers on real pictures are compared with PyTorch's.

    Args:
        run: the run's folder.
        out: the file; default `model-PRECISION.onnx` in the run's folder.
        precision: of the weights of the image tower: "fp32", "fp16" or "int8". The last is onnxruntime's dynamic
            quantization of matrix products with weights; convolutions stay in fp32.
        images: pictures to compare on, as files, folders or patterns; default the run's own test images.
        overwrite: whether a file that is there may be replaced.
        backbone: where the run's weights lie now, if not where they were.

    Raises:
        VLPromptError: the extra is not installed, the file is there, no run, no pictures, a model of more than 2 GB, a
            method that cannot be a graph, answers that differ in fp32 or are no numbers; nothing is written then.
    """
    _check_installed()
    if precision not in PRECISIONS:
        raise VLPromptError(f"--precision {precision}: use {', '.join(PRECISIONS)}")
    file = Path(run) / f"model-{precision}.onnx" if out is None else Path(out)
    if file.is_dir():
        raise VLPromptError(f"--out {file} is a folder; name a file, such as {file / 'model.onnx'}")
    if file.exists() and not overwrite:
        raise VLPromptError(f"--out {file} exists; add --overwrite to replace it, or choose another")
    classifier = Classifier(*restore(run, device="cpu", backbone=backbone, precision="fp32"))
    _check_size(classifier, precision)
    of, pixels = check_pixels(classifier, images)
    expected = torch.cat([classifier.logits(batch) for batch in pixels.split(BATCH)]).numpy()

    logger.info("writing %s on %s as a graph", classifier.method.name, classifier.method.backbone.name)
    deployed = Deployed(classifier.method, classifier.temperature).eval()
    if precision == "fp16":
        classifier.method.backbone.model.half()
    model = traced(deployed)
    if precision == "int8":
        model = _quantized(model)
    content = _labeled(model, metadata(classifier, precision))

    with unfinished(file, content) as written:
        agreement = compare(written, pixels, expected, of)
        if precision == "fp32" and not agreement.exact:
            raise VLPromptError(f"the exported model is not the tuned one, so it was not written: {agreement}")
        if math.isnan(agreement.probability):
            raise VLPromptError(f"in {precision} the model's answers are no numbers; use --precision fp32")
    if agreement.same_label < SAME * agreement.pictures:
        logger.warning("in %s the model often names another class: %s", precision, agreement)
    return Export(file, len(content), precision, agreement)


def _check_installed() -> None:
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise VLPromptError(f'export needs {error.name}: pip install "vlprompt[export]"') from error


def _check_size(classifier: Classifier, precision: str) -> None:
    method = classifier.method
    model: Any = method.backbone.model
    exported: nn.Module = model if method.instance_conditional else model.visual
    values = sum(parameter.numel() for parameter in exported.parameters())
    size = PRECISIONS[precision] * values
    if size > LIMIT:
        fits = PRECISIONS["fp16"] * values <= LIMIT
        fix = "use --precision fp16" if fits else "its weights are too many for one in any precision"
        raise VLPromptError(
            f"--precision {precision}: {method.backbone.name} takes {size / 1e9:.1f} GB on the way to a file, and an "
            f".onnx file holds 2 GB; {fix}"
        )


def _quantized(model: Any) -> Any:
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    # What its pre-processing would do is done; it warns unless it is told so.
    onnx.helper.set_model_props(model, {"onnx.quant.pre_process": "onnxruntime.quant"})
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        # Signed weights overflow where a processor adds pairs of products in 16 bits, and its answers are its own then.
        quantize_dynamic(model, file, op_types_to_quantize=QUANTIZED, weight_type=QuantType.QUInt8, per_channel=True)
        return onnx.load(file)


def _labeled(model: Any, about: dict[str, str]) -> bytes:
    """The file's bytes, with the metadata in the model."""
    import onnx

    model.producer_name, model.producer_version = "vlprompt", version("vlprompt")
    model.graph.name = "classifier"
    onnx.helper.set_model_props(model, about)
    content: bytes = model.SerializeToString()
    return content
