"""What a training step asks of a device: few calls, and no waiting for it, whatever the method and the layout."""

from collections import Counter
from functools import cache
from typing import Any, get_args

import open_clip
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import vlprompt
from vlprompt import METHODS, Backbone
from vlprompt.backbones.text import Layout
from vlprompt.methods.base import Method

# Operations that read a value from the device, or move a new one to it.
WAITING = {"_local_scalar_dense", "nonzero", "masked_select", "_unique2", "lift_fresh", "item", "equal", "is_nonzero"}
CLASSES = ["red apple", "dog", "t-shirt", "green snake", "satellite photo", "cat"]
BATCH = 4
UNTRAINED = {"zero-shot", "linear-probe", "tip-adapter"}  # methods without training steps


class Calls(TorchDispatchMode):
    """Counts the operations on tensors, but for views."""

    def __init__(self) -> None:
        super().__init__()
        self.names: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if not func.is_view:
            self.names[func.overloadpacket.__name__] += 1
        return func(*args, **(kwargs or {}))


@cache
def tiny(layers: int = 2) -> Backbone:
    torch.manual_seed(0)
    image = {"image_size": 32, "patch_size": 8, "width": 64, "layers": layers, "head_width": 32}
    text = {"width": 64, "layers": layers, "heads": 2}
    return vlprompt.load_backbone(open_clip.CLIP(32, image, text, quick_gelu=True), device="cpu")


def prepared(name: str, layout: Layout) -> tuple[Method[Any], Tensor, Tensor, Tensor]:
    """Return a method ready for training and a batch for it."""
    backbone = tiny()
    backbone.text.layout = layout
    torch.manual_seed(1)
    method = vlprompt.create_method(name, backbone, CLASSES)
    shots = [(torch.randn(3, 32, 32), label, index) for index, label in enumerate([*range(len(CLASSES))] * 2)]
    method.prepare(shots, None)  # type: ignore[arg-type]
    images, index = torch.stack([shots[i][0] for i in range(BATCH)]), torch.arange(BATCH)
    labels = torch.tensor([shots[i][1] for i in range(BATCH)])
    return method.train(), images if method.adapts_images else backbone.vision(images), labels, index


def train(method: Method[Any], images: Tensor, labels: Tensor, index: Tensor) -> None:
    prediction = method(images)
    prediction.extras["index"] = index
    method.backward(method.loss(prediction, labels))


@pytest.mark.parametrize("layout", get_args(Layout))
@pytest.mark.parametrize("name", sorted({*METHODS.names()} - UNTRAINED))
def test_no_step_waits_for_the_device(name: str, layout: Layout) -> None:
    method, *batch = prepared(name, layout)
    train(method, *batch)  # what is computed once, such as the layout of the names
    with Calls() as calls:
        train(method, *batch)
    assert not WAITING & calls.names.keys()


def test_padded_step_makes_few_calls() -> None:
    """12 layers, as in ViT-B/16, and 100 classes with names of many lengths."""
    backbone = tiny(12)
    names = [f"{' '.join(CLASSES[: 1 + number % 4])} {number}" for number in range(100)]
    counts = {}
    for layout in get_args(Layout):
        backbone.text.layout = layout
        method = vlprompt.create_method("coop", backbone, names).train()
        features, labels = torch.randn(32, 32), torch.arange(32)
        train(method, features, labels, labels)
        with Calls() as calls:
            train(method, features, labels, labels)
        counts[layout] = calls.names.total()
    assert counts["padded"] <= 1100
    assert counts["padded"] < counts["packed"]
