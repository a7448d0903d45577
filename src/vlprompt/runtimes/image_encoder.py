"""Frozen image tower run by OpenVINO, which encodes many images on a CPU several times as fast as PyTorch."""

from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from vlprompt.backbones.backbone import Backbone
from vlprompt.errors import VLPromptError
from vlprompt.runtimes.exported_model import FEATURES, ExportedModel, check_runtime, open_model
from vlprompt.runtimes.graph import trace
from vlprompt.runtimes.onnx import LIMIT
from vlprompt.runtimes.openvino import to_openvino

# Smallest cosine between a feature and PyTorch's. int8 has 0.98 and more; a wrong product has anything.
CLOSE = 0.9

_converted: WeakKeyDictionary[Backbone, dict[str, ExportedModel]] = WeakKeyDictionary()


def check_encoder(precision: str, backbone_precision: str, device: torch.device) -> None:
    """Check that an image tower can be run by OpenVINO.

    Args:
        precision: precision of the run by OpenVINO, the setting `data.view_precision`.
        backbone_precision: precision of the backbone.
        device: device of the backbone.

    Raises:
        VLPromptError: it is not on a CPU or not in fp32, or a package is missing.
    """
    if device.type != "cpu":
        raise VLPromptError(f"data.view_precision={precision} is for CPUs, got device {device.type}; leave it out")
    if backbone_precision != "fp32":
        raise VLPromptError(
            f"data.view_precision={precision} needs backbone.precision=fp32, got {backbone_precision}; leave one of "
            "them out"
        )
    check_runtime("openvino", precision, writing=True)


class ImageEncoder:
    """Function that returns the features (B, D), fp32, that OpenVINO computes of pixels (B, 3, S, S).

    The tower is converted once for a backbone. Several threads may call the function; one at a time computes.

    Args:
        backbone: backbone on the CPU in fp32.
        precision: "bf16" or "int8", see `runtimes.openvino.to_openvino`.
        pixels: images (B, 3, S, S) on which the features are compared with PyTorch's.

    Attributes:
        cosine: smallest cosine between a feature and PyTorch's on these images.

    Raises:
        VLPromptError: the tower cannot be traced, or a cosine is below 0.9.
    """

    def __init__(self, backbone: Backbone, precision: str, pixels: Tensor) -> None:
        models = _converted.setdefault(backbone, {})
        if precision not in models:
            models[precision] = _convert(backbone, precision)
        self._model, self._lock = models[precision], Lock()
        self.cosine = float(cosine_similarity(self(pixels), backbone.encode_image(pixels)).min())
        if not self.cosine >= CLOSE:
            raise VLPromptError(
                f"data.view_precision={precision}: features of {backbone.name} have a cosine of {self.cosine:.2f} to "
                "PyTorch's; use another precision, or leave it out"
            )

    def __call__(self, pixels: Tensor) -> Tensor:
        """Return the features (B, D) of pixels (B, 3, S, S), not normalized."""
        with self._lock:
            (features,) = self._model(pixels.numpy())
        return torch.from_numpy(features)


class _Tower(nn.Module):
    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.vision, self.visual = backbone.vision, backbone.model.visual

    def forward(self, pixels: Tensor) -> Tensor:
        return self.vision(pixels)


def _convert(backbone: Backbone, precision: str) -> ExportedModel:
    tower, what = _Tower(backbone).eval(), f"the image tower of {backbone.name}"
    if 4 * sum(parameter.numel() for parameter in tower.parameters()) > LIMIT:
        raise VLPromptError(f"data.view_precision={precision}: {what} is larger than 2 GB; leave it out")
    graph = trace(tower, what, backbone.image_size, [FEATURES])
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        files = [Path(folder) / f"tower{suffix}" for suffix in (".xml", ".bin")]
        for file, content in zip(files, to_openvino(graph, precision, {}), strict=True):
            file.write_bytes(content)
        return open_model("openvino", files[0], [FEATURES])
