"""Write an exported graph as an OpenVINO model: an .xml file with the graph and a .bin file with the weights."""

import json
import math
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vlprompt.runtimes.exported_model import CONFIG, openvino_core
from vlprompt.runtimes.graph import silenced
from vlprompt.runtimes.onnx import to_onnx


def to_openvino(model: Any, precision: str, metadata: Mapping[str, str]) -> tuple[bytes, bytes]:
    """Return the contents of both files of a graph (`onnx.ModelProto`) with metadata.

    In int8, weights have a scale and a zero point per output channel, and activations are quantized when the model
    runs, a group of channels of a token at a time. So no images are needed for calibration, and a prediction does not
    depend on the other images of a batch.
    """
    import openvino

    (content,) = to_onnx(model, "fp32", metadata)
    converted = openvino_core().read_model(content)
    config: dict[str, Any] = {}
    if precision == "int8":
        # Where the processor has bf16, the rest runs in bf16: OpenVINO's default.
        converted, config["DYNAMIC_QUANTIZATION_GROUP_SIZE"] = _quantized(converted)
        config["NUM_STREAMS"] = 1  # with more, OpenVINO 2026.4 computes wrong products with such weights
    else:
        config["INFERENCE_PRECISION_HINT"] = {"fp32": "f32", "bf16": "bf16"}[precision]
    converted.set_rt_info(json.dumps(config), ["framework", CONFIG])
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.xml"
        openvino.save_model(converted, file, compress_to_fp16=precision == "bf16")
        return file.read_bytes(), file.with_suffix(".bin").read_bytes()


def _quantized(model: Any) -> tuple[Any, int]:
    """Return the model with int8 weights, and the size of its groups of activations.

    The size divides the number of input channels of every product: a layer that it does not divide would run in
    floating point.
    """
    os.environ["NNCF_CI"] = "1"  # NNCF sends statistics of its use otherwise
    with silenced():
        import nncf

        model = nncf.compress_weights(model, mode=nncf.CompressWeightsMode.INT8_ASYM)
    widths = set()
    for layer in model.get_ordered_ops():
        if layer.get_type_name() == "MatMul" and len(shape := layer.input(1).get_partial_shape()) == 2:
            widths.add(shape[-1 if layer.get_transpose_b() else 0].get_length())
    return model, math.gcd(*widths)
