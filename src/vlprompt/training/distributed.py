"""Training on several devices: each computes a share of every batch, and all take the same step."""

from typing import Any

import torch
import torch.distributed
from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy
from torch import Tensor, nn

from vlprompt.config.schema import RunConfig
from vlprompt.errors import VLPromptError
from vlprompt.methods.base import Method, Prediction


class MeanGradients(DDPStrategy):
    """DDP without its module wrapper.

    The wrapper reduces gradients during the backward pass and expects the loss to depend on parameters only through
    `forward`. A method's loss may use parameters directly, or only in some batches, so we reduce afterwards
    (`average_gradients`); prompts are small enough that this costs little.
    """

    def setup_module(self, module: nn.Module) -> Any:
        """Copy the parameters of the first device to all others; return the module itself."""
        for parameter in module.parameters():
            torch.distributed.broadcast(parameter.data, 0)
        return module


def check_devices(config: RunConfig, images: int, device: torch.device) -> None:
    """Raise VLPromptError unless `runtime.devices` are available and share each batch of `images` images equally."""
    devices = config.runtime.devices
    if devices == 1:
        return
    if device.type not in ("cpu", "cuda") or ":" in config.runtime.device:
        raise VLPromptError(f"runtime.devices={devices} needs `device` cpu or cuda, got {config.runtime.device}")
    if device.type == "cuda" and devices > torch.cuda.device_count():
        raise VLPromptError(
            f"runtime.devices must be at most {torch.cuda.device_count()}, the number of CUDA devices, got {devices}"
        )
    size = min(config.optim.batch_size, images)
    if size % devices:
        raise VLPromptError(
            f"runtime.devices={devices} cannot share batches of {size} images equally; "
            f"set optim.batch_size to a multiple of {devices}, at most {images} (the training images)"
        )


def own_share(batches: list[list[int]], fabric: Fabric) -> list[list[int]]:
    """Return this device's share of every batch, as indices of images."""
    count, rank = fabric.world_size, fabric.global_rank
    return [batch[rank * len(batch) // count : (rank + 1) * len(batch) // count] for batch in batches]


def gather_batch(
    method: Method[Any], prediction: Prediction, labels: Tensor, fabric: Fabric
) -> tuple[Prediction, Tensor]:
    """Gather prediction and labels of the whole batch from all devices, for losses that compare images."""
    own, count = prediction.image_features, fabric.world_size
    if own.requires_grad:
        # Every device computes the whole batch's loss but has gradients only through its own images. Averaging over
        # devices divides by their number, so multiply by it here.
        own.register_hook(lambda gradient: count * gradient)
    features, index, labels = (_gathered(part, count) for part in (own.detach(), prediction.extras["index"], labels))
    begin = fabric.global_rank * len(own)
    features = torch.cat([features[:begin], own, features[begin + len(own) :]])
    return method.classify(features, prediction.text_features, index=index), labels


def average_gradients(method: Method[Any], fabric: Fabric) -> None:
    """Average every gradient over all devices. A parameter without a gradient on one device counts as 0 there."""
    if fabric.world_size == 1:
        return
    parameters = [parameter for parameter in method.parameters() if parameter.requires_grad]
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    reached = torch.tensor([p.grad is not None for p in parameters], dtype=torch.float32, device=fabric.device)
    joined = torch.cat([*(gradient.flatten() for gradient in gradients), reached])
    fabric.all_reduce(joined, reduce_op="mean")
    *means, reached = joined.split([*(p.numel() for p in parameters), len(parameters)])
    for parameter, mean, there in zip(parameters, means, reached.tolist(), strict=True):
        parameter.grad = mean.view_as(parameter) if there else None


def _gathered(tensor: Tensor, count: int) -> Tensor:
    parts = [torch.empty_like(tensor) for _ in range(count)]
    torch.distributed.all_gather(parts, tensor.contiguous())
    return torch.cat(parts)
