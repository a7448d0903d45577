"""Number of images per forward pass of the service, chosen by measurement."""

import time

import torch

from vlprompt.classifier.classifier import Classifier
from vlprompt.serve.model_thread import BATCH_SECONDS

# Cost per image, relative to the cheapest batch, up to which a smaller batch is preferred.
NEAR = 1.05
REPEATS = 2


def efficient_batch(classifier: Classifier, limit: int) -> int:
    """Return the number of images per batch, at most `limit`, beyond which larger batches gain less than 5%.

    A larger one would only make its first images wait for the others: on a CPU that is often so from 4 images on, on a
    GPU not before 16.
    """
    side = classifier.method.backbone.image_size

    def cost(count: int) -> float:
        """Return the seconds per image."""
        pixels, best = torch.zeros(count, 3, side, side), float("inf")
        for _ in range(REPEATS):
            begun = time.perf_counter()
            classifier.logits(pixels)
            best = min(best, time.perf_counter() - begun)
        return best / count

    costs, count = {1: cost(1)}, 2
    while count <= limit and count * min(costs.values()) <= BATCH_SECONDS:
        costs[count] = cost(count)
        count *= 2
    best = min(costs.values())
    return next(count for count, value in costs.items() if value <= NEAR * best)
