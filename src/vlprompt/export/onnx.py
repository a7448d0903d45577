"""Export a run as one .onnx file, which is compared with PyTorch before it is written."""

import json
import logging
import math
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vlprompt.backbones.backbone import state_hash
from vlprompt.classifier.classifier import Classifier
from vlprompt.classifier.exported_tower import PROMPTS_HASH, WEIGHT_HASH, model_file
from vlprompt.data.transforms import THIN
from vlprompt.errors import VLPromptError
from vlprompt.export.agreement import BATCH, Agreement, check_pixels, compare
from vlprompt.export.graph import Deployed, traced
from vlprompt.runs.restore import restore
from vlprompt.utils.files import unfinished

logger = logging.getLogger("vlprompt")

# Maximum size of a protobuf message, and so of a single .onnx file.
LIMIT = 2**31 - 1
# Bytes per weight during export: int8 is exported in fp32 first, then quantized.
PRECISIONS = {"fp32": 4, "fp16": 2, "int8": 4}
# onnxruntime has no integer convolutions on CPUs.
QUANTIZED = ["MatMul", "Gemm"]
# Fraction of images with the same label below which a warning is logged.
SAME = 0.95


@dataclass(frozen=True)
class Export:
    """Exported file and its agreement with PyTorch.

    Attributes:
        file: .onnx file.
        size: size of the file in bytes.
        precision: precision of the weights.
        agreement: differences between its predictions and PyTorch's in fp32.
        speed: images a second on the compared images relative to PyTorch's, with as many threads.
    """

    file: Path
    size: int
    precision: str
    agreement: Agreement
    speed: float


def export_onnx(
    run: str | Path,
    out: str | Path | None = None,
    *,
    precision: str = "fp32",
    images: Sequence[str] = (),
    overwrite: bool = False,
    backbone: str | Path | None = None,
) -> Export:
    """Write a run as one .onnx file, after comparing its predictions on real images with PyTorch's.

    Args:
        run: run folder.
        out: file to write; default: `model-PRECISION.onnx` in the run folder.
        precision: precision of the image tower's weights: "fp32", "fp16" or "int8". The last is onnxruntime's dynamic
            quantization of matrix products with weights; convolutions stay in fp32.
        images: images to compare on, as files, folders or patterns; default: the run's test images.
        overwrite: replace an existing file.
        backbone: name or path of the run's backbone; None for the recorded one.

    Returns:
        The file and its agreement with PyTorch.

    Raises:
        VLPromptError: the `export` extra is missing, an argument is wrong, there are no images, the model exceeds 2 GB,
            the method cannot be traced, or the predictions differ in fp32 or are not finite. No file is written then.

    Examples:
        >>> from vlprompt.export.onnx import export_onnx
        >>> export_onnx("runs/mine", "pets.onnx", precision="fp16", images=["my_images"]).file.name
        'pets.onnx'
    """
    _check_installed()
    if precision not in PRECISIONS:
        raise VLPromptError(f"`precision` must be one of {', '.join(PRECISIONS)}, got {precision!r}")
    file = model_file(Path(run), precision) if out is None else Path(out)
    if file.is_dir():
        raise VLPromptError(f"`out` {file} is a folder; name a file, such as {file / 'model.onnx'}")
    if file.exists() and not overwrite:
        raise VLPromptError(f"`out` {file} exists; pass `overwrite=True` to replace it, or choose another file")
    classifier = Classifier(*restore(run, device="cpu", backbone=backbone, precision="fp32"))
    _check_size(classifier, precision)
    of, pixels = check_pixels(classifier, images)
    begun = time.perf_counter()
    expected = torch.cat([classifier.logits(batch) for batch in pixels.split(BATCH)]).numpy()
    usual = time.perf_counter() - begun

    logger.info("tracing %s on %s", classifier.method.name, classifier.method.backbone.name)
    deployed = Deployed(classifier.method, classifier.temperature).eval()
    if precision == "fp16":
        classifier.method.backbone.model.half()
    model = traced(deployed)
    if precision == "int8":
        model = _quantized(model)
    content = _labeled(model, metadata(classifier, precision))

    with unfinished(file, content) as written:
        agreement, taken = compare(written, pixels, expected, of)
        if precision == "fp32" and not agreement.exact:
            raise VLPromptError(
                f"the exported model does not reproduce the tuned one, so it was not written: {agreement}"
            )
        if math.isnan(agreement.probability):
            raise VLPromptError(f"with `precision` {precision} the model's predictions are not finite; use fp32")
    if agreement.same_label < SAME * agreement.images:
        logger.warning("in %s the exported model often predicts another class: %s", precision, agreement)
    return Export(file, len(content), precision, agreement, usual / taken)


def metadata(classifier: Classifier, precision: str) -> dict[str, str]:
    """Return the model's `metadata_props`; `class_names` and `preprocessing` are JSON.

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


def _check_installed() -> None:
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise VLPromptError(f'export requires {error.name}: pip install "vlprompt[export]"') from error


def _check_size(classifier: Classifier, precision: str) -> None:
    method = classifier.method
    model: Any = method.backbone.model
    exported: nn.Module = model if method.instance_conditional else model.visual
    values = sum(parameter.numel() for parameter in exported.parameters())
    size = PRECISIONS[precision] * values
    if size > LIMIT:
        fits = PRECISIONS["fp16"] * values <= LIMIT
        fix = "use fp16" if fits else "it does not fit in any precision"
        raise VLPromptError(
            f"`precision` {precision}: {method.backbone.name} takes {size / 1e9:.1f} GB during export, but an .onnx "
            f"file is limited to 2 GB; {fix}"
        )


def _quantized(model: Any) -> Any:
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    # The quantizer warns unless this property says that the model is pre-processed, which the optimizer has done.
    onnx.helper.set_model_props(model, {"onnx.quant.pre_process": "onnxruntime.quant"})
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        # Signed weights overflow on processors that add pairs of products in 16 bits (AVX2), with other results there.
        quantize_dynamic(model, file, op_types_to_quantize=QUANTIZED, weight_type=QuantType.QUInt8, per_channel=True)
        return onnx.load(file)


def _labeled(model: Any, about: dict[str, str]) -> bytes:
    """Return the bytes of the file, with the metadata in the model."""
    import onnx

    model.producer_name, model.producer_version = "vlprompt", version("vlprompt")
    model.graph.name = "classifier"
    onnx.helper.set_model_props(model, about)
    content: bytes = model.SerializeToString()
    return content
