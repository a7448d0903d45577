"""Training steps: few calls, no waiting for the device, whatever the method and the layout, and their recording."""

from collections import Counter
from collections.abc import Callable
from functools import cache
from typing import Any, get_args

import open_clip
import pytest
import torch
from benchmarks.gpu import gradients_of
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import vlprompt
from vlprompt import METHODS, Backbone
from vlprompt.backbones.text import Layout
from vlprompt.config.resolve import resolve_config
from vlprompt.methods.base import Method
from vlprompt.training import step
from vlprompt.training.step import Outcome, StepFunction

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
def tiny(layers: int = 2, device: str = "cpu") -> Backbone:
    torch.manual_seed(0)
    image = {"image_size": 32, "patch_size": 8, "width": 64, "layers": layers, "head_width": 32}
    text = {"width": 64, "layers": layers, "heads": 2}
    return vlprompt.load_backbone(open_clip.CLIP(32, image, text, quick_gelu=True), device=device)


def prepared(name: str, layout: Layout, device: str = "cpu") -> tuple[Method[Any], Tensor, Tensor, Tensor]:
    """Return a method ready for training and a batch for it."""
    backbone = tiny(device=device)
    backbone.text.layout = layout
    torch.manual_seed(1)
    method = vlprompt.create_method(name, backbone, CLASSES)
    shots = [(torch.randn(3, 32, 32), label, index) for index, label in enumerate([*range(len(CLASSES))] * 2)]
    method.prepare(shots, None)  # type: ignore[arg-type]
    images, index = torch.stack([shots[i][0] for i in range(BATCH)]), torch.arange(BATCH)
    labels = torch.tensor([shots[i][1] for i in range(BATCH)])
    images = images.to(device)
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


class Tape:
    """Stand-in for a CUDA graph: a replay runs the function again and fills the tensors of the recording."""

    def __init__(self, method: Method[Any]) -> None:
        self.method, self.made, self.replays = method, 0, 0

    def __call__(self, run: Callable[[], Outcome]) -> tuple[Outcome, Callable[[], None]]:
        self.made += 1
        kept = run()
        parameters = list(self.method.parameters())
        gradients = [parameter.grad for parameter in parameters]

        def replay() -> None:
            self.replays += 1
            new = run()
            with torch.no_grad():
                for parameter, gradient in zip(parameters, gradients, strict=True):
                    if gradient is not None:
                        gradient.copy_(parameter.grad)  # type: ignore[arg-type]
                for term, value in new.terms.items():
                    kept.terms[term].copy_(value)
                kept.correct.copy_(new.correct)

        return kept, replay


def losses(step: StepFunction, method: Method[Any], batches: list[list[Tensor]]) -> list[float]:
    optimizer = torch.optim.SGD(method.parameters(), lr=0.1)
    seen = []
    for batch in batches:
        optimizer.zero_grad(set_to_none=True)
        outcome = step(*batch)
        optimizer.step()
        seen += [outcome.terms.total.item(), outcome.correct.item()]
    return seen


def some_batches(method: Method[Any]) -> list[list[Tensor]]:
    rng = torch.Generator().manual_seed(3)
    shape = (BATCH, 3, 32, 32) if method.adapts_images else (BATCH, 32)
    return [
        [torch.randn(shape, generator=rng), torch.randint(6, (BATCH,), generator=rng), torch.arange(BATCH)]
        for _ in range(4)
    ]


@pytest.mark.parametrize("name", ["coop", "dapt"])
def test_recorded_step_computes_the_same(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, other = prepared(name, "padded")[0], prepared(name, "padded")[0]
    monkeypatch.setattr(step, "record", tape := Tape(other))
    recorded = step.RecordedStep(gradients_of(other), other)
    expected = losses(gradients_of(plain), plain, some_batches(plain))
    assert losses(recorded, other, some_batches(other)) == expected
    assert (recorded.recorded, tape.made, tape.replays) == (True, 1, 4)
    recorded.forget()
    losses(recorded, other, some_batches(other))
    assert (tape.made, tape.replays) == (2, 8)


def test_step_that_cannot_be_recorded_runs_as_it_is(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(run: Callable[[], Outcome]) -> Any:
        run()
        raise RuntimeError("it draws random numbers on the CPU")

    monkeypatch.setattr(step, "record", refuse)
    plain, other = prepared("coop", "padded")[0], prepared("coop", "padded")[0]
    with caplog.at_level("INFO"):
        recorded = step.RecordedStep(gradients_of(other), other)
        assert losses(recorded, other, some_batches(other)) == losses(gradients_of(plain), plain, some_batches(plain))
    assert not recorded.recorded
    assert caplog.messages == ["steps of coop are not recorded as a CUDA graph: it draws random numbers on the CPU"]


@pytest.mark.parametrize(
    ("settings", "device", "possible"),
    [
        ({}, "cuda", True),
        ({}, "cpu", False),
        ({"runtime.graph": "off"}, "cuda", False),
        ({"runtime.devices": 2}, "cuda", False),
        ({"backbone.precision": "fp16"}, "cuda", False),
        ({"backbone.precision": "bf16"}, "cuda:1", True),
    ],
)
def test_which_runs_are_recorded(settings: dict[str, Any], device: str, possible: bool) -> None:
    config = resolve_config(method="coop", settings={"backbone.source": "embedded", "data.source": "x", **settings})
    assert step.can_be_recorded(config, torch.device(device)) == possible


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("layout", get_args(Layout))
@pytest.mark.parametrize("name", sorted({*METHODS.names()} - UNTRAINED))
def test_every_method_is_recorded_on_cuda(name: str, layout: Layout) -> None:
    found = []
    for record in (False, True):
        method, *_ = prepared(name, layout, "cuda")
        batches = [[part.cuda() for part in batch] for batch in some_batches(method)]
        chosen = step.RecordedStep(gradients_of(method), method) if record else gradients_of(method)
        torch.manual_seed(5)
        found.append(losses(chosen, method, batches))
    assert found[1] == pytest.approx(found[0], rel=1e-4)
    assert chosen.recorded  # type: ignore[union-attr]
