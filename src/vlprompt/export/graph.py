"""Trace a tuned method into an ONNX graph."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from typing import Any

import torch
from torch import Tensor, nn

from vlprompt.classifier.exported_model import FEATURES, LOGITS, PIXELS, PROBABILITIES
from vlprompt.errors import VLPromptError
from vlprompt.methods.base import Method
from vlprompt.utils.strings import one_line

# The lowest opset that torch's exporter supports, and the matching file version, for compatibility with older runtimes.
OPSET, IR_VERSION = 18, 8


class Deployed(nn.Module):
    """Module to export: pixels in, logits, probabilities and image features out; classes and temperature folded in.

    Adapters and class features are computed here, once, and are constants of the graph. The text tower is part of the
    graph only if text depends on the image.

    Args:
        method: tuned method, in eval mode.
        temperature: divisor of the logits.
    """

    class_features: Tensor | None

    def __init__(self, method: Method[Any], temperature: float) -> None:
        super().__init__()
        self.method = method
        # Registered here because the method does not register the backbone's model, whose weights the tracer needs.
        self.model = method.backbone.model
        self.temperature = temperature
        with torch.no_grad():
            self.adapters = method.adapters()
            self.register_buffer("class_features", method.class_features())

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return what the graph gives for pixels (B, 3, S, S).

        Returns:
            logits, divided by the temperature, and probabilities, both (B, C), and unit image features (B, D).
        """
        image_features = self.method.encode_images(pixels, self.adapters)
        text_features = self.class_features
        if text_features is None:
            text_features = self.method.encode_text(self.method.adapters(image_features))
        logits = self.method.classify(image_features, text_features).logits.float() / self.temperature
        return logits, logits.softmax(-1), image_features.float()


def traced(deployed: Deployed) -> Any:
    """Trace a method into an ONNX model (`onnx.ModelProto`) whose batch dimension is free.

    Everything that does not depend on pixels is folded into constants, such as transposed weights.

    Raises:
        VLPromptError: the method's computation cannot be traced.
    """
    import onnxscript
    import onnxscript.optimizer

    method, backbone = deployed.method, deployed.method.backbone
    pixels = torch.zeros(2, 3, backbone.image_size, backbone.image_size)
    batch = torch.export.Dim("batch")
    with torch.no_grad(), silenced():
        try:
            program = torch.export.export(deployed, (pixels,), dynamic_shapes={PIXELS: {0: batch}}, strict=False)
            written = torch.onnx.export(
                program,
                dynamo=True,
                input_names=[PIXELS],
                output_names=[LOGITS, PROBABILITIES, FEATURES],
                opset_version=OPSET,
                optimize=False,
                verbose=False,
            )
        except Exception as error:  # torch and onnxscript can raise almost anything
            reason = one_line(error)[:300]
            by = f"torch {torch.__version__} and onnxscript {onnxscript.__version__}"
            raise VLPromptError(f"method {method.name!r} cannot be exported as a graph by {by}: {reason}") from error
        assert written is not None
        anything = torch.iinfo(torch.int64).max
        onnxscript.optimizer.optimize(written.model, input_size_limit=anything, output_size_limit=anything)
    return _stripped(written.model_proto)


@contextmanager
def silenced() -> Iterator[None]:
    """Silence what exporters and quantizers print for developers."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), redirect_stdout(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)


def _stripped(model: Any) -> Any:
    """Remove the exporter's metadata from the model, which contains local paths of source files."""
    graph, model.ir_version = model.graph, IR_VERSION
    del graph.metadata_props[:], graph.value_info[:], model.metadata_props[:]
    for part in (*graph.node, *graph.initializer, *graph.input, *graph.output):
        part.doc_string = ""
        del part.metadata_props[:]
    for value in (*graph.input, *graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    return model
