"""The learning rate of every epoch."""

import math

from vlprompt.config.schema import OptimConfig


def learning_rate(optim: OptimConfig, epoch: int) -> float:
    """Learning rate in epoch `epoch`, counted from 0.

    A constant warm-up, then a cosine over `epochs` that starts at `lr`; as the field's toolbox steps it, the cosine
    begins after the warm-up and so ends that much before its zero.
    """
    if epoch < optim.warmup_epochs:
        return optim.warmup_lr
    passed = (epoch - optim.warmup_epochs) / optim.epochs
    return 0.5 * optim.lr * (1 + math.cos(math.pi * passed))
