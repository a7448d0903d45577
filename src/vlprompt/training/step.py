"""A training step, from the batch to the gradients, and its recording as a CUDA graph, launched as a whole."""

import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from vlprompt.config.schema import RunConfig
from vlprompt.methods.base import LossTerms, Method

logger = logging.getLogger(__name__)

WARM_UPS = 3  # runs before a recording, in which libraries choose kernels and take their memory


class Outcome(NamedTuple):
    """What a step leaves beside the gradients.

    Attributes:
        terms: loss terms, means over the images.
        correct: number of images that were classified correctly.
        images: number of images.
    """

    terms: LossTerms
    correct: Tensor
    images: int


class StepFunction(Protocol):
    """Function that computes losses and gradients of a batch."""

    def __call__(self, inputs: Tensor, labels: Tensor, index: Tensor) -> Outcome:
        """Set the gradients of the method's parameters for inputs (B, ...), labels (B,) and indices (B,)."""


def can_be_recorded(config: RunConfig, device: torch.device) -> bool:
    """Whether the steps of a run may be recorded: on one CUDA device, without loss scaling, unless it is turned off."""
    runtime = config.runtime
    return (
        runtime.graph == "auto"
        and device.type == "cuda"
        and runtime.devices == 1
        and config.backbone.precision != "fp16"  # a loss scaler looks at the gradients of every step
    )


class RecordedStep:
    """A step that is recorded at its first batch and replayed for the others; it computes the same.

    Where it cannot be recorded, since it waits for the device or draws numbers on the CPU, it runs as it is.

    Args:
        step: the step; it must not keep state in Python that changes from step to step.
        method: method whose parameters get the gradients.

    Attributes:
        recorded: whether steps were recorded.
    """

    def __init__(self, step: StepFunction, method: Method[Any]) -> None:
        self._step = step
        self._method = method
        self.recorded = False
        self._replay: Callable[[], None] | None = None
        self._recordable = True
        self._batch: list[Tensor] = []
        self._outcome: Outcome | None = None
        self._gradients: list[tuple[torch.nn.Parameter, Tensor | None]] = []

    def forget(self) -> None:
        """Record anew at the next batch, since something that the step uses has changed."""
        self._replay = None

    def __call__(self, inputs: Tensor, labels: Tensor, index: Tensor) -> Outcome:
        """Compute a step like the one that was given."""
        batch = [inputs, labels, index]
        if self._recordable and self._replay is None:
            self._record(batch)
        if self._replay is None:
            return self._step(*batch)
        for static, part in zip(self._batch, batch, strict=True):
            static.copy_(part)
        self._replay()
        for parameter, gradient in self._gradients:
            parameter.grad = gradient
        assert self._outcome is not None
        return self._outcome

    def _record(self, batch: list[Tensor]) -> None:
        self._batch = [part.clone() for part in batch]
        parameters = [parameter for parameter in self._method.parameters() if parameter.requires_grad]

        def run() -> Outcome:
            for parameter in parameters:
                parameter.grad = None  # so that a replay sets the gradients, and does not add to them
            return self._step(*self._batch)

        try:
            self._outcome, self._replay = record(run)
        except RuntimeError as error:
            self._recordable = False
            for parameter in parameters:  # or the next step would add to them
                parameter.grad = None
            logger.info("steps of %s are not recorded as a CUDA graph: %s", self._method.name, error)
            return
        self.recorded = True
        self._gradients = [(parameter, parameter.grad) for parameter in parameters]


def record(run: Callable[[], Outcome]) -> tuple[Outcome, Callable[[], None]]:
    """Record a function on the current CUDA device; return the tensors it fills and a function that fills them again.

    Random states are afterwards as before.

    Raises:
        RuntimeError: the function waits for the device, draws random numbers on the CPU, or cannot be recorded.
    """
    states = torch.get_rng_state(), torch.cuda.get_rng_state()
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    mode = torch.cuda.get_sync_debug_mode()
    try:
        with torch.cuda.stream(side):
            for number in range(WARM_UPS):
                # What is computed once, such as features of templates, may wait in the first run.
                torch.cuda.set_sync_debug_mode("error" if number else mode)
                run()
        torch.cuda.set_sync_debug_mode(mode)
        torch.cuda.current_stream().wait_stream(side)
        if not torch.equal(torch.get_rng_state(), states[0]):
            raise RuntimeError("it draws random numbers on the CPU")
        graph = torch.cuda.CUDAGraph()
        # Other threads, such as the one that pins the memory of images, may go on using the device.
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            outcome = run()
        return outcome, graph.replay
    finally:
        torch.cuda.set_sync_debug_mode(mode)
        with suppress(RuntimeError):
            torch.cuda.set_rng_state(states[1])
        torch.set_rng_state(states[0])
