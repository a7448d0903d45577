"""Text features of all classes, forward and backward: the tower of this project against the plain one.

The plain tower runs 77 tokens for each class, as published implementations do.
"""

import gc
import time
from collections.abc import Callable

import torch

from vlprompt import Backbone, TextPrompts, load_backbone
from vlprompt.backbones.plain import encode_prompts_plainly

Encode = Callable[[TextPrompts, list[str]], torch.Tensor]


def seconds(encode: Encode, prompts: TextPrompts, names: list[str], repeats: int) -> float:
    """The fastest of several forward and backward passes."""
    times = []
    for _ in range(repeats):
        gc.collect()
        begun = time.perf_counter()
        encode(prompts, names).sum().backward()
        times.append(time.perf_counter() - begun)
    return min(times)


def kept(encode: Encode, prompts: TextPrompts, names: list[str]) -> float:
    """MB that autograd keeps between forward and backward, shared storage counted once."""
    storages: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        features = encode(prompts, names)
    total = sum(storages.values())
    del features
    return total / 1e6


def run(backbone: Backbone | None = None) -> list[dict[str, float]]:
    """Rows of the table, printed as they come."""
    backbone = backbone or load_backbone("ViT-B-16/random", device="cpu")
    tower = backbone.text

    def plain(prompts: TextPrompts, names: list[str]) -> torch.Tensor:
        return encode_prompts_plainly(tower, prompts, names)

    rows = []
    print(f"{'classes':>8} {'context':>8} {'plain s':>8} {'ours s':>8} {'ratio':>6} {'plain MB':>9} {'ours MB':>8}")
    for classes in (10, 25, 100):
        for length in (4, 16):
            context = torch.empty(length, tower.width).normal_(std=0.02).requires_grad_()
            prompts = TextPrompts(context)
            names = [f"object number {number}" for number in range(classes)]
            row = {
                "classes": classes,
                "context": length,
                "plain": seconds(plain, prompts, names, 2),
                "ours": seconds(tower.encode_prompts, prompts, names, 3),
                "plain_mb": kept(plain, prompts, names),
                "ours_mb": kept(tower.encode_prompts, prompts, names),
            }
            rows.append(row)
            print(
                f"{classes:8} {length:8} {row['plain']:8.2f} {row['ours']:8.2f} {row['plain'] / row['ours']:6.1f} "
                f"{row['plain_mb']:9.0f} {row['ours_mb']:8.0f}",
                flush=True,
            )
    return rows
