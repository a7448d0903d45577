"""Exported models, which onnxruntime or OpenVINO run in place of PyTorch."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vlprompt.errors import VLPromptError
from vlprompt.utils.strings import one_line

# Input and outputs of an exported graph, and keys of its metadata.
PIXELS, LOGITS, PROBABILITIES, FEATURES = "pixels", "logits", "probabilities", "image_features"
PROMPTS_HASH, WEIGHT_HASH, CONFIG = "prompts_hash", "weight_hash", "config"


@dataclass(frozen=True)
class Format:
    """Format of exported models.

    Attributes:
        suffix: suffix of the file.
        precisions: precisions that it can be written in.
        runtime: package that runs it.
        writers: packages that writing needs besides.
        extra: extra of vlprompt that installs all that writing and running need.
    """

    suffix: str
    precisions: tuple[str, ...]
    runtime: str
    writers: tuple[str, ...]
    extra: str


FORMATS = {
    "onnx": Format(".onnx", ("fp32", "fp16", "int8"), "onnxruntime", ("onnx", "onnxscript"), "export"),
    "openvino": Format(".xml", ("fp32", "bf16", "int8"), "openvino", ("onnx", "onnxscript", "nncf"), "openvino"),
}
RUNTIMES = ("torch", *FORMATS)


def model_file(run: Path, name: str, precision: str) -> Path:
    """Return where `vlprompt export` writes a run's model in a format by default."""
    return run / f"model-{precision}{FORMATS[name].suffix}"


class ExportedModel(Protocol):
    """Model that is ready to run on the CPU.

    Attributes:
        metadata: what the file says about itself; `docs/export.md` lists the keys.
    """

    metadata: dict[str, str]

    def __call__(self, pixels: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """Return the outputs that it was opened with, of pixels (B, 3, S, S)."""


def check_runtime(name: str, precision: str, *, writing: bool = False) -> None:
    """Check that a format has a precision and that the packages that run it, and write it if asked, are installed.

    Raises:
        VLPromptError: it does not, or they are not.
    """
    form = FORMATS[name]
    if precision not in form.precisions:
        raise VLPromptError(f"`precision` must be one of {', '.join(form.precisions)} for {name}, got {precision!r}")
    for package in (form.runtime, *(form.writers if writing else ())):
        if find_spec(package) is None:
            raise VLPromptError(f'{name} needs {package}: pip install "vlprompt[{form.extra}]"')


def open_model(
    name: str, file: Path, outputs: Sequence[str], weights: Path | None = None, *, threads: int | None = None
) -> ExportedModel:
    """Open a file that a writer of `runtimes` made, such as `vlprompt export`'s.

    Args:
        name: format of the file, whose runtime is installed.
        file: the file.
        outputs: names of the outputs to compute.
        weights: second file of an OpenVINO model; default: the .bin file beside it.
        threads: number of threads; None for PyTorch's.

    Raises:
        VLPromptError: the runtime cannot read or run the file.
    """
    try:
        count = threads or torch.get_num_threads()
        return _OnnxModel(file, outputs, count) if name == "onnx" else _OpenVINOModel(file, outputs, weights, count)
    except Exception as error:  # the errors of both packages share no base class
        raise VLPromptError(f"{file} cannot be run by {FORMATS[name].runtime} ({one_line(error)})") from error


class _OnnxModel:
    def __init__(self, file: Path, outputs: Sequence[str], threads: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        self._outputs = list(outputs)
        self.metadata: dict[str, str] = self._session.get_modelmeta().custom_metadata_map

    def __call__(self, pixels: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        found: list[NDArray[np.float32]] = self._session.run(self._outputs, {PIXELS: pixels})
        return found


def image_features(model: ExportedModel, pixels: Tensor) -> Tensor:
    """Return the image features (B, D), fp32, of pixels (B, 3, S, S) on the CPU; they are the model's only output."""
    (features,) = model(pixels.numpy())
    return torch.from_numpy(features)


@cache
def openvino_core() -> Any:
    """Return this process's `openvino.Core`, which is kept until the process ends.

    The first model that a core compiles installs a signal stack in the thread, and the end of the core removes it. If
    cores are destroyed in another order than the last one first, or in other threads, the thread keeps a stack that is
    freed, and the next signal that Python handles, such as SIGINT or SIGCHLD, crashes the process.
    """
    import openvino

    return openvino.Core()


class _OpenVINOModel:
    def __init__(self, file: Path, outputs: Sequence[str], weights: Path | None, threads: int) -> None:
        import openvino

        core = openvino_core()
        model = core.read_model(file, weights or file.with_suffix(".bin"))
        # OpenVINO keeps the metadata of the .onnx graph that a model comes from under this name.
        self.metadata: dict[str, str] = model.get_rt_info("framework").value
        # Without the other outputs, what only they need is not computed.
        needed = openvino.Model([model.output(name) for name in outputs], model.get_parameters(), "classifier")
        config: dict[str, Any] = {
            "INFERENCE_NUM_THREADS": threads,
            "ENABLE_CPU_PINNING": False,  # pinned threads wait for whatever else runs on their core
            **json.loads(self.metadata[CONFIG]),
        }
        self._request = core.compile_model(needed, "CPU", config).create_infer_request()

    def __call__(self, pixels: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        return list(self._request.infer({PIXELS: pixels}).values())
