"""Trace a tuned method into an ONNX graph."""

from typing import Any

import torch
from torch import Tensor, nn

from vlprompt.methods.base import Method
from vlprompt.runtimes.exported_model import FEATURES, LOGITS, PROBABILITIES
from vlprompt.runtimes.graph import trace


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


def trace_method(deployed: Deployed) -> Any:
    """Trace a method into an ONNX model (`onnx.ModelProto`), see `trace`.

    Raises:
        VLPromptError: the method's computation cannot be traced.
    """
    method = deployed.method
    outputs = [LOGITS, PROBABILITIES, FEATURES]
    return trace(deployed, f"method {method.name!r}", method.backbone.image_size, outputs)
