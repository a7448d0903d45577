"""Write an exported graph as one .onnx file."""

import tempfile
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

# Maximum size of a protobuf message, and so of a single .onnx file.
LIMIT = 2**31 - 1
# onnxruntime has no integer convolutions on CPUs.
QUANTIZED = ["MatMul", "Gemm"]


def to_onnx(model: Any, precision: str, metadata: Mapping[str, str]) -> tuple[bytes]:
    """Return the content of the file of a graph (`onnx.ModelProto`) with metadata."""
    import onnx

    if precision == "int8":
        model = _quantized(model)
    model.producer_name, model.producer_version = "vlprompt", version("vlprompt")
    model.graph.name = "classifier"
    onnx.helper.set_model_props(model, dict(metadata))
    return (model.SerializeToString(),)


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
