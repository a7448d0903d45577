"""Muon, the optimizer of the blocks' matrices."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch
from torch import Tensor

_MOMENTUM = 0.95
_ORTHOGONAL_STEPS = 5
_QUINTIC = (3.4445, -4.7750, 2.0315)
_SHARED = 6  # matrices in a stack where threads share the stacks


def orthogonalize(matrices: Tensor) -> Tensor:
    """Map matrices (n, rows <= columns) to nearly the closest semi-orthogonal ones, by Newton-Schulz iteration.

    The iteration runs on the Gram matrices alone, since every factor is a polynomial of them and so commutes with
    them. For a matrix four times as wide as tall this is little more than half the work.
    """
    a, b, c = _QUINTIC
    x = matrices / (matrices.norm(dim=(1, 2), keepdim=True) + 1e-7)
    identity = torch.eye(x.shape[1], device=x.device)
    gram = x @ x.mT
    product = identity.expand_as(gram)
    for step in range(_ORTHOGONAL_STEPS):
        factor = a * identity + b * gram + c * gram @ gram
        product = factor @ product if step else factor
        if step < _ORTHOGONAL_STEPS - 1:
            gram = factor @ gram @ factor
    orthogonal: Tensor = product @ x
    return orthogonal


@dataclass(frozen=True, slots=True)
class _Matrix:
    """A matrix to orthogonalize: rows `part` of a parameter, transposed where `tall`."""

    parameter: Tensor
    part: slice
    tall: bool

    @property
    def shape(self) -> tuple[int, int]:
        rows, columns = self.parameter[self.part].shape
        return min(rows, columns), max(rows, columns)

    def gradient(self) -> Tensor:
        if self.parameter.grad is None:
            raise RuntimeError("Muon.step before backward")
        gradient = self.parameter.grad[self.part]
        return gradient.T if self.tall else gradient


class Muon:
    """Orthogonalized momentum (github.com/KellerJordan/Muon), in stacks of matrices of equal shape.

    A fused query-key-value weight (3 d, d) counts as three matrices. `momentum` is the entire state: one tensor
    (matrices, rows, columns) per stack, in a fixed order. The `threads` share small stacks; without any, there is a
    stack for each shape, since a GPU is fastest with few large operations.
    """

    def __init__(self, parameters: Sequence[Tensor], weight_decay: float, threads: ThreadPoolExecutor | None) -> None:
        self._weight_decay, self._threads = weight_decay, threads
        by_shape: dict[tuple[int, int], list[_Matrix]] = {}
        for parameter in parameters:
            rows, columns = parameter.shape
            height = columns if rows == 3 * columns else rows
            for top in range(0, rows, height):
                matrix = _Matrix(parameter, slice(top, top + height), tall=height > columns)
                by_shape.setdefault(matrix.shape, []).append(matrix)
        most = _SHARED if threads else len(parameters) * 3
        self._stacks = [matrices[i : i + most] for matrices in by_shape.values() for i in range(0, len(matrices), most)]
        self.momentum = [
            torch.zeros(len(stack), *stack[0].shape, device=stack[0].parameter.device) for stack in self._stacks
        ]

    def step(self, rate: Tensor) -> None:
        """Update the parameters from `.grad` with the learning rate `rate` (), on their device."""
        run = self._threads.map if self._threads else map
        for _ in run(self._step_stack, self._stacks, self.momentum, [rate] * len(self._stacks)):
            pass

    @torch.no_grad()
    def _step_stack(self, stack: list[_Matrix], momentum: Tensor, rate: Tensor) -> None:
        torch.set_num_threads(1)
        gradients = torch.stack([matrix.gradient() for matrix in stack])
        momentum.lerp_(gradients, 1 - _MOMENTUM)
        updates = rate * orthogonalize(gradients.lerp(momentum, _MOMENTUM))
        kept = 1 - rate * self._weight_decay
        for matrix, update in zip(stack, updates, strict=True):
            weight = matrix.parameter.data[matrix.part]
            scale = max(1.0, weight.shape[0] / weight.shape[1]) ** 0.5
            weight.mul_(kept).sub_(update.T if matrix.tall else update, alpha=scale)
