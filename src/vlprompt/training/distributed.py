"""One run on several devices: each has a share of every batch, and all take the step of the whole batch."""

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
    """DDP without its wrapper, which is for large models whose loss is all made in `forward`.

    Prompts are small and their losses are free to use parameters too, or in some batches only; so gradients are
    averaged after the backward pass, by `average_gradients`.
    """

    def setup_module(self, module: nn.Module) -> Any:
        """The module itself, its parameters made those of the first device."""
        for parameter in module.parameters():
            torch.distributed.broadcast(parameter.data, 0)
        return module


def check_devices(config: RunConfig, images: int, device: torch.device) -> None:
    """VLPromptError where a run on `images` shots cannot be spread over its `runtime.devices`."""
    devices = config.runtime.devices
    if devices == 1:
        return
    if device.type not in ("cpu", "cuda") or ":" in config.runtime.device:
        raise VLPromptError(
            f"--devices {devices}: several devices are processes on the cpu, or cuda devices from the first on; "
            f"give --device cpu or cuda, not {config.runtime.device}"
        )
    if device.type == "cuda" and devices > torch.cuda.device_count():
        raise VLPromptError(f"--devices {devices}: there are {torch.cuda.device_count()} cuda devices here")
    size = min(config.optim.batch_size, images)
    if size % devices:
        raise VLPromptError(
            f"--devices {devices} cannot share batches of {size} images equally; "
            "set optim.batch_size to a multiple of the number of devices, and not above the number of shots"
        )


def own_share(batches: list[list[int]], fabric: Fabric) -> list[list[int]]:
    """This device's images of every batch, in their order."""
    count, rank = fabric.world_size, fabric.global_rank
    return [batch[rank * len(batch) // count : (rank + 1) * len(batch) // count] for batch in batches]


def gather_batch(
    method: Method[Any], prediction: Prediction, labels: Tensor, fabric: Fabric
) -> tuple[Prediction, Tensor]:
    """Prediction and labels of all devices' images, for a loss that looks at them together."""
    own, count = prediction.image_features, fabric.world_size
    if own.requires_grad:
        # All devices compute the same loss, each with a gradient in its own images only, and gradients are averaged.
        own.register_hook(lambda gradient: count * gradient)
    features, index, labels = (_gathered(part, count) for part in (own.detach(), prediction.extras["index"], labels))
    begin = fabric.global_rank * len(own)
    features = torch.cat([features[:begin], own, features[begin + len(own) :]])
    return method.classify(features, prediction.text_features, index=index), labels


def average_gradients(method: Method[Any], fabric: Fabric) -> None:
    """Make every gradient the mean of those of all devices. Where a loss did not reach a parameter, it is 0."""
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
