"""Trace a PyTorch module into an ONNX graph."""

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from typing import Any

import torch
from torch import nn

from vlprompt.errors import VLPromptError
from vlprompt.runtimes.exported_model import PIXELS
from vlprompt.utils.strings import one_line

# The lowest opset that torch's exporter supports, and the matching file version, for compatibility with older runtimes.
OPSET, IR_VERSION = 18, 8


def trace(module: nn.Module, what: str, size: int, outputs: Sequence[str]) -> Any:
    """Trace a module into an ONNX model (`onnx.ModelProto`) whose batch dimension is free.

    Everything that does not depend on pixels is folded into constants, such as transposed weights.

    Args:
        module: module in eval mode whose only argument is `pixels` (B, 3, size, size).
        what: name of the module in error messages.
        size: side of the images.
        outputs: names of its outputs.

    Raises:
        VLPromptError: the module's computation cannot be traced.
    """
    import onnxscript
    import onnxscript.optimizer

    pixels = torch.zeros(2, 3, size, size)
    batch = torch.export.Dim("batch")
    with torch.no_grad(), silenced():
        try:
            program = torch.export.export(module, (pixels,), dynamic_shapes={PIXELS: {0: batch}}, strict=False)
            written = torch.onnx.export(
                program,
                dynamo=True,
                input_names=[PIXELS],
                output_names=list(outputs),
                opset_version=OPSET,
                optimize=False,
                verbose=False,
            )
        except Exception as error:  # torch and onnxscript can raise almost anything
            reason = one_line(error)[:300]
            by = f"torch {torch.__version__} and onnxscript {onnxscript.__version__}"
            raise VLPromptError(f"{what} cannot be exported as a graph by {by}: {reason}") from error
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
