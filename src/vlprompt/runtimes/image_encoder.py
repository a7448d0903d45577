"""Frozen image tower run by OpenVINO, which encodes many images on a CPU several times as fast as PyTorch."""

import math
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from vlprompt.backbones.backbone import Backbone
from vlprompt.errors import VLPromptError
from vlprompt.runtimes.exported_model import FEATURES, ExportedModel, check_runtime, image_features, open_model
from vlprompt.runtimes.graph import trace
from vlprompt.runtimes.onnx import LIMIT
from vlprompt.runtimes.openvino import to_openvino
from vlprompt.utils.progress import Reporter

# Number of images on which features are compared with PyTorch's, and the smallest cosine that is accepted. Features in
# bf16 and int8 reached 0.98 and more in our measurements; a runtime that computes wrong products can give any value.
COMPARED, CLOSE = 8, 0.9

# Converted towers of each backbone, by precision and number of threads. One lock serves all: a model cannot run two
# batches at once.
_converted: WeakKeyDictionary[Backbone, dict[tuple[str, int], ExportedModel]] = WeakKeyDictionary()
_lock = Lock()


def check_encoder(precision: str, backbone_precision: str, device: torch.device) -> None:
    """Check that OpenVINO can run the image tower of a backbone.

    Args:
        precision: precision in OpenVINO, the setting `data.view_precision`.
        backbone_precision: precision of the backbone.
        device: device of the backbone.

    Raises:
        VLPromptError: the device is not a CPU, the backbone is not in fp32, or a package is missing.
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
    """Function that maps pixels (B, 3, S, S) to image features (B, D), fp32, not normalized, computed by OpenVINO.

    Its first call converts the tower, unless one of this backbone, precision and number of threads has been converted
    in this process, and compares features with PyTorch's. Calls from several threads run one at a time.

    Args:
        backbone: backbone on the CPU in fp32.
        precision: "bf16" or "int8", see `runtimes.openvino.to_openvino`.
        reporter: shows progress.

    Attributes:
        cosine: smallest cosine between a feature and PyTorch's in the first call; NaN before it.
    """

    def __init__(self, backbone: Backbone, precision: str, reporter: Reporter) -> None:
        self.cosine = math.nan
        self._backbone, self._precision, self._reporter = backbone, precision, reporter
        self._threads = torch.get_num_threads()  # threads that call it may have fewer
        self._model: ExportedModel | None = None

    def __call__(self, pixels: Tensor) -> Tensor:
        """Return the features (B, D) of pixels (B, 3, S, S).

        Raises:
            VLPromptError: the tower cannot be converted, or a cosine is below 0.9.
        """
        with _lock:
            if self._model is None:
                self._model = self._prepared(pixels[:COMPARED])
            return image_features(self._model, pixels)

    def _prepared(self, pixels: Tensor) -> ExportedModel:
        backbone, precision = self._backbone, self._precision
        models, key = _converted.setdefault(backbone, {}), (precision, self._threads)
        with self._reporter.bar("convert image tower") as bar:
            bar(0, 1, precision)
            if key not in models:
                models[key] = _convert(backbone, precision, self._threads)
            exact = backbone.encode_image(pixels)
            bar(1, 1, precision)
        self.cosine = float(cosine_similarity(image_features(models[key], pixels), exact).min())
        if not self.cosine >= CLOSE:  # or it is not a number
            raise VLPromptError(
                f"data.view_precision={precision}: features of {backbone.name} have a cosine of {self.cosine:.2f} to "
                "PyTorch's; use another precision, or leave it out"
            )
        self._reporter.say(
            f"OpenVINO encodes views in {precision}; smallest cosine to PyTorch's features: {self.cosine:.3f}"
        )
        return models[key]


class _Tower(nn.Module):
    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.vision = backbone.vision
        self.visual = backbone.model.visual  # registered, since the tracer needs its weights

    def forward(self, pixels: Tensor) -> Tensor:
        return self.vision(pixels)


def _convert(backbone: Backbone, precision: str, threads: int) -> ExportedModel:
    tower, what = _Tower(backbone).eval(), f"the image tower of {backbone.name}"
    if 4 * sum(parameter.numel() for parameter in tower.parameters()) > LIMIT:
        raise VLPromptError(f"data.view_precision={precision}: {what} is larger than 2 GB; leave it out")
    graph = trace(tower, what, backbone.image_size, [FEATURES])
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:  # Windows keeps files that are mapped
        files = [Path(folder) / f"tower{suffix}" for suffix in (".xml", ".bin")]
        for file, content in zip(files, to_openvino(graph, precision, {}), strict=True):
            file.write_bytes(content)
        return open_model("openvino", files[0], [FEATURES], threads=threads)
