"""Image tower of an exported run, in place of PyTorch's."""

from pathlib import Path
from typing import Any

from torch import Tensor

from vlprompt.backbones.backbone import state_hash
from vlprompt.errors import VLPromptError
from vlprompt.methods.base import Method
from vlprompt.runtimes.exported_model import FEATURES, PROMPTS_HASH, WEIGHT_HASH, image_features, model_file, open_model


class ExportedTower:
    """Function that returns the unit image features (B, D), fp32 on the CPU, of pixels (B, 3, S, S).

    Classes and temperature stay PyTorch's, so that classes can be added.

    Args:
        run: run folder with a model that `vlprompt export` wrote.
        method: the run's method, whose prompts the model must have.
        runtime: what runs the model: "onnx" or "openvino".
        precision: precision of the model.

    Raises:
        VLPromptError: there is no such model, it cannot be run, or it was exported with other prompts.
    """

    def __init__(self, run: Path, method: Method[Any], runtime: str, precision: str) -> None:
        file = model_file(run, runtime, precision)
        how = f"with `format` {runtime} and `precision` {precision}"
        if not file.is_file():
            raise VLPromptError(f"`runtime` {runtime} needs {file}; export the run {how}")
        self._model = open_model(runtime, file, [FEATURES])
        own = {PROMPTS_HASH: state_hash(method.state_dict()), WEIGHT_HASH: method.backbone.weight_hash}
        if any(self._model.metadata.get(key) != value for key, value in own.items()):
            raise VLPromptError(
                f"{file} is of other prompts than {run} has now; export the run again {how} and `overwrite=True`"
            )

    def __call__(self, pixels: Tensor) -> Tensor:
        """Return the unit image features (B, D) of pixels (B, 3, S, S)."""
        return image_features(self._model, pixels)
