"""Image tower of an exported run, which onnxruntime runs in place of PyTorch's."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vlprompt.backbones.backbone import state_hash
from vlprompt.errors import VLPromptError
from vlprompt.methods.base import Method
from vlprompt.utils.strings import one_line

# Input and outputs of an exported graph, and keys of its metadata.
PIXELS, LOGITS, PROBABILITIES, FEATURES = "pixels", "logits", "probabilities", "image_features"
PROMPTS_HASH, WEIGHT_HASH = "prompts_hash", "weight_hash"
RUNTIMES = ("torch", "onnx")


def model_file(run: Path, precision: str) -> Path:
    """Return where `vlprompt export` writes a run's model by default."""
    return run / f"model-{precision}.onnx"


class ExportedTower:
    """Function that returns the unit image features (B, D), fp32 on the CPU, of pixels (B, 3, S, S).

    Classes and temperature stay PyTorch's, so that classes can be added.

    Args:
        run: run folder with a model that `vlprompt export` wrote.
        method: the run's method, whose prompts the model must have.
        precision: precision of the model.

    Raises:
        VLPromptError: onnxruntime is not installed, or there is no such model, or it was exported with other prompts.
    """

    def __init__(self, run: Path, method: Method[Any], precision: str) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise VLPromptError('`runtime` onnx needs onnxruntime: pip install "vlprompt[export]"') from error
        file = model_file(run, precision)
        again = f"export the run again with `precision` {precision} and `overwrite=True`"
        if not file.is_file():
            raise VLPromptError(f"`runtime` onnx needs {file}; export the run with `precision` {precision}")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's own errors share no base class
            raise VLPromptError(f"{file} cannot be run ({one_line(error)}); {again}") from error
        about = self._session.get_modelmeta().custom_metadata_map
        own = {PROMPTS_HASH: state_hash(method.state_dict()), WEIGHT_HASH: method.backbone.weight_hash}
        if any(about.get(key) != value for key, value in own.items()):
            raise VLPromptError(f"{file} is of other prompts than {run} has now; {again}")

    def __call__(self, pixels: Tensor) -> Tensor:
        """Return the unit image features (B, D) of pixels (B, 3, S, S)."""
        (features,) = self._session.run([FEATURES], {PIXELS: pixels.numpy()})
        return torch.from_numpy(features)
