"""A tuned method as an ONNX graph."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from vlprompt.errors import VLPromptError
from vlprompt.methods.base import Method

# The lowest that torch's exporter writes, and the file's version that goes with it: older programs can read them.
OPSET, IR_VERSION = 18, 8
PIXELS, LOGITS, PROBABILITIES = "pixels", "logits", "probabilities"


class Deployed(nn.Module):
    """What is exported: pixels in, logits and probabilities out, class features and temperature folded in."""

    def __init__(self, method: Method[Any], temperature: float) -> None:
        super().__init__()
        self.method = method
        # The method does not register it, and the tracer has to find whose weights it meets.
        self.model = method.backbone.model
        self.temperature = temperature
        with torch.no_grad():
            self.register_buffer("class_features", method.class_features())

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Logits, divided by the temperature, and probabilities, both (B, C), of pixels (B, 3, S, S)."""
        logits = self.method(pixels, self.class_features).logits.float() / self.temperature
        return logits, logits.softmax(-1)


def traced(deployed: Deployed) -> Any:
    """The ONNX model (`onnx.ModelProto`) of a method, whose first dimension is free.

    What depends on no pixel is computed now: prompts that a network makes of others, transposed and cut weights.

    Raises:
        VLPromptError: the method's computation cannot be written as a graph; it says why.
    """
    import onnxscript
    import onnxscript.optimizer

    method, backbone = deployed.method, deployed.method.backbone
    pixels = torch.zeros(2, 3, backbone.image_size, backbone.image_size)
    batch = torch.export.Dim("batch")
    # How many sentences there are depends on the images where these have sentences of their own.
    backbone.text.chunk_size = None
    with torch.no_grad(), _prompts_made(method), _quiet():
        try:
            program = torch.export.export(deployed, (pixels,), dynamic_shapes={PIXELS: {0: batch}}, strict=False)
            written = torch.onnx.export(
                program,
                dynamo=True,
                input_names=[PIXELS],
                output_names=[LOGITS, PROBABILITIES],
                opset_version=OPSET,
                optimize=False,
                verbose=False,
            )
        except Exception as error:  # whatever a tracer meets in somebody's code
            reason = " ".join(str(error).split())[:300] or type(error).__name__
            by = f"torch {torch.__version__} and onnxscript {onnxscript.__version__}"
            raise VLPromptError(f"method {method.name!r} cannot be made a graph by {by}: {reason}") from error
        assert written is not None
        anything = torch.iinfo(torch.int64).max
        onnxscript.optimizer.optimize(written.model, input_size_limit=anything, output_size_limit=anything)
    return _bare(written.model_proto)


@contextmanager
def _prompts_made(method: Method[Any]) -> Iterator[None]:
    """Let the method give the prompts that it has now, which are data; how they are made is no part of the graph."""
    if method.instance_conditional:
        yield
        return
    made = method.prompts()
    vars(method)["prompts"] = lambda image_features=None: made
    try:
        yield
    finally:
        del vars(method)["prompts"]


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what an exporter tells its developers from the user."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)


def _bare(model: Any) -> Any:
    """The model without the exporter's notes, which name source files of this machine."""
    graph, model.ir_version = model.graph, IR_VERSION
    del graph.metadata_props[:], graph.value_info[:], model.metadata_props[:]
    for part in (*graph.node, *graph.initializer, *graph.input, *graph.output):
        part.doc_string = ""
        del part.metadata_props[:]
    for value in (*graph.input, *graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    return model
