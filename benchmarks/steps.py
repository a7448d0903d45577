"""One training step of every method: this project's towers against the plain path, and bf16 against fp32.

Both paths are the same method with the same parameters; every repeat checks that losses and gradients agree. What the
plain path does in each step follows the published code: the frozen image tower runs in the step, and in ProGrad's a
second time for the zero-shot model; CoCoOp loops over images; CLIP-LoRA encodes its template anew; hand-crafted
features of the others and DAPT's prototypes are computed once, before training. E2MIM has no published code: its text
tower is CoOp's.
"""

import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain, islice
from itertools import count as numbers
from statistics import median
from typing import Any

import open_clip
import torch
from open_clip.zero_shot_metadata import IMAGENET_CLASSNAMES
from torch import Tensor
from torch.optim import Optimizer
from torch.utils.data import TensorDataset

from benchmarks.plain_towers import on, plain_backbone
from vlprompt import Backbone, create_method, load_backbone
from vlprompt.backbones.backbone import Precision
from vlprompt.config.resolve import resolve_config
from vlprompt.methods.base import Method
from vlprompt.training.fit import make_optimizer

SHOTS = 16
TOLERANCE = 1e-3


@dataclass(frozen=True)
class Case:
    """Measurement of a method, and its target.

    Attributes:
        method: name of the method, which is measured with the options of its few-shot recipe.
        aim: smallest acceptable ratio to the plain path, with images through the tower in each step.
        cached_aim: the same with cached image features; None if there is no target.
        batch: number of images in a step.
        plain_passes: passes of a frozen image tower that the published code makes beside the method's own forward.
        options: overrides of the recipe's options.
    """

    method: str
    aim: float | None = None
    cached_aim: float | None = None
    batch: int = 4
    plain_passes: int = 0
    options: dict[str, object] = field(default_factory=dict)


CASES = [
    Case("coop", 6, 12),
    Case("cocoop", 10, batch=2),
    Case("kgcoop", 6, 12),
    Case("prograd", 6, 12, plain_passes=1),
    Case("e2mim", 6, 12),
    Case("vpt"),
    Case("ivlp"),
    Case("maple", 5),
    # Templates are encoded before training, so one stands for all sixty.
    Case("promptsrc", 4, options={"templates": ["a photo of a {}."]}),
    Case("dapt", 4),
    Case("mudpt", 5),
    # Without dropout, whose masks would differ between the two paths.
    Case("clip-lora", options={"dropout": 0.0}),
    Case("tip-adapter-f"),
]


@dataclass(frozen=True)
class StepTimes:
    """Seconds of a step and ratios to the plain path, medians over repeats. `cached` is None without a cache."""

    case: Case
    learned: str
    plain: float
    ours: float
    ratio: float
    floor: float
    cached: float | None
    cached_ratio: float | None


def backbone_of(
    quick: bool, precision: Precision = "fp32", device: str | torch.device = "cpu", px: int | None = None
) -> Backbone:
    """Return a ViT-B/16 with random weights and OpenAI's QuickGELU, or a tiny model of the same family.

    `px` is the side of its images in pixels; default: 224, or 32 for the tiny model.
    """
    torch.manual_seed(0)
    if not quick and px is None:
        return load_backbone("ViT-B-16-quickgelu/random", device=device, precision=precision)
    config: dict[str, Any] = open_clip.get_model_config("ViT-B-16-quickgelu")
    if quick:
        image, text = {"patch_size": 8, "width": 64, "layers": 3}, {"width": 64, "heads": 1, "layers": 3}
        config |= {"embed_dim": 32, "vision_cfg": image, "text_cfg": text}
    config["vision_cfg"]["image_size"] = px or 32
    return load_backbone(open_clip.CLIP(**config), device=device, precision=precision)


def class_names(count: int) -> list[str]:
    """Return unique names: ImageNet's, in which open_clip lists two twice, then "other NAME 2" and so on."""
    known = IMAGENET_CLASSNAMES
    names = [name if name not in known[:i] else f"other {name}" for i, name in enumerate(known)]
    further = (f"other {name} {number}" for number in numbers(2) for name in names)
    return list(islice(chain(names, further), count))


class Step:
    """A repeatable training step of one method, on either path."""

    def __init__(self, case: Case, backbone: Backbone, classes: int, batch: int | None = None) -> None:
        torch.manual_seed(0)
        case, device = replace(case, batch=batch or case.batch), backbone.device
        recipe = resolve_config(method=case.method, settings={"backbone.source": "embedded", "data.source": ""})
        options = recipe.method.options | case.options
        self.case = case
        self.method: Method[Any] = create_method(case.method, backbone, class_names(classes), **options)
        self.labels = torch.arange(case.batch, device=device) % classes
        self.index = torch.arange(case.batch, device=device) * SHOTS
        self.images = torch.randn(case.batch, 3, backbone.image_size, backbone.image_size, device=device)
        self.ours, self.plain = backbone, plain_backbone(backbone)
        shots = torch.randn(classes * SHOTS, backbone.embed_dim)
        self.method.prepare(TensorDataset(shots, torch.arange(classes).repeat_interleave(SHOTS)), None)
        self.method.set_epochs(1)
        self.method.train()
        self.optimizer: Optimizer = make_optimizer(self.method, recipe.optim)
        self._start = [parameter.detach().clone() for parameter in self.method.parameters()]

    @property
    def learned(self) -> str:
        """Lengths of the text and image prompts in the first layer, as "4 + 4"."""
        adapters = self.method.adapters()
        prompts = [prompt for prompt in (adapters.text, adapters.visual) if prompt is not None]
        return " + ".join(str(prompt.context.shape[-2]) for prompt in prompts)

    def run(self, inputs: Tensor, *, plain: bool = False) -> tuple[float, list[Tensor]]:
        """Run a step and return the loss and the gradients; the parameters are restored afterwards."""
        torch.manual_seed(0)
        with on(self.method, self.plain if plain else self.ours):
            self.optimizer.zero_grad(set_to_none=True)
            if plain:
                for _ in range(self.case.plain_passes):
                    self.plain.vision(inputs)
            prediction = self.method(inputs)
            prediction.extras["index"] = self.index
            terms = self.method.loss(prediction, self.labels)
            self.method.backward(terms)
        gradients = [parameter.grad for parameter in self.method.parameters() if parameter.grad is not None]
        self.optimizer.step()
        with torch.no_grad():
            for parameter, start in zip(self.method.parameters(), self._start, strict=True):
                parameter.copy_(start)
        return terms.total.item(), gradients

    def floor(self) -> None:
        """Run the image tower's share of a step with this project's towers, forward and backward."""
        features = self.method.image_features(self.images)
        if features.requires_grad:
            features.sum().backward()
        if self.case.method == "promptsrc":
            self.ours.vision(self.images)


def seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    """Return the seconds that a call took, and its result."""
    gc.collect()
    begun = time.perf_counter()
    result = work()
    return time.perf_counter() - begun, result


def check(case: Case, ours: tuple[float, list[Tensor]], plain: tuple[float, list[Tensor]]) -> None:
    """Raise RuntimeError where the two paths do not compute the same."""
    (loss, gradients), (plain_loss, plain_gradients) = ours, plain
    # Of all together: some gradients are zero up to rounding, such as those of a key's bias.
    flat, plain_flat = (torch.cat([part.flatten() for part in parts]) for parts in (gradients, plain_gradients))
    apart = ((flat - plain_flat).norm() / plain_flat.norm()).item()
    if abs(loss - plain_loss) > TOLERANCE or apart > TOLERANCE:
        raise RuntimeError(f"{case.method}: losses {loss:.6f} and {plain_loss:.6f}, gradients {apart:.1e} apart")


def measure(case: Case, backbone: Backbone, *, classes: int, repeats: int) -> StepTimes:
    """Time one method on both paths, interleaved."""
    step = Step(case, backbone, classes)
    takes_features = not step.method.adapts_images
    with torch.no_grad():
        features = backbone.vision(step.images)
    step.run(step.images)
    taken: dict[str, list[float]] = {"ours": [], "plain": [], "floor": [], "cached": []}
    for _ in range(repeats):
        plain_time, plain = seconds(partial(step.run, step.images, plain=True))
        ours_time, ours = seconds(partial(step.run, step.images))
        check(case, ours, plain)
        taken["plain"].append(plain_time)
        taken["ours"].append(ours_time)
        taken["floor"].append(seconds(step.floor)[0])
        if takes_features:
            taken["cached"].append(seconds(partial(step.run, features))[0])

    def ratio(side: str) -> float:
        return median(plain / ours for plain, ours in zip(taken["plain"], taken[side], strict=True))

    return StepTimes(
        case=case,
        learned=step.learned,
        plain=median(taken["plain"]),
        ours=median(taken["ours"]),
        ratio=ratio("ours"),
        floor=median(taken["floor"]),
        cached=median(taken["cached"]) if takes_features else None,
        cached_ratio=ratio("cached") if takes_features else None,
    )


def measure_all(backbone: Backbone, cases: Sequence[Case], *, classes: int, repeats: int) -> list[StepTimes]:
    """Time every method; print each result as it arrives."""
    rows = []
    for case in cases:
        row = measure(case, backbone, classes=classes, repeats=repeats)
        cached = "" if row.cached is None else f", cached features {row.cached:.2f} s = {row.cached_ratio:.1f}x"
        print(
            f"{case.method:14} plain {row.plain:6.2f} s, ours {row.ours:5.2f} s = {row.ratio:.1f}x, "
            f"image tower alone {row.floor:.2f} s{cached}",
            flush=True,
        )
        rows.append(row)
    return rows


@dataclass(frozen=True)
class PrecisionTimes:
    """Seconds of a step in fp32 and bf16, medians over repeats; `apart` is the relative difference of gradients."""

    case: Case
    fp32: float
    bf16: float
    ratio: float
    apart: float


def compare_precisions(case: Case, exact: Backbone, rounded: Backbone, *, classes: int, repeats: int) -> PrecisionTimes:
    """Time one method in both precisions, interleaved."""
    sides = [Step(case, backbone, classes) for backbone in (exact, rounded)]
    images = sides[0].images
    gradients = [torch.cat([part.flatten() for part in side.run(images)[1]]) for side in sides]
    times = [[seconds(partial(side.run, images))[0] for side in sides] for _ in range(repeats)]
    return PrecisionTimes(
        case=case,
        fp32=median(fp32 for fp32, _ in times),
        bf16=median(bf16 for _, bf16 in times),
        ratio=median(fp32 / bf16 for fp32, bf16 in times),
        apart=((gradients[1] - gradients[0]).norm() / gradients[0].norm()).item(),
    )


def compare_all_precisions(
    exact: Backbone, rounded: Backbone, cases: Sequence[Case], *, classes: int, repeats: int
) -> list[PrecisionTimes]:
    """Time every method in both precisions; print each result as it arrives."""
    rows = []
    for case in cases:
        row = compare_precisions(case, exact, rounded, classes=classes, repeats=repeats)
        print(
            f"{case.method:14} fp32 {row.fp32:5.2f} s, bf16 {row.bf16:5.2f} s = {row.ratio:.1f}x, "
            f"gradients {row.apart:.1%} apart",
            flush=True,
        )
        rows.append(row)
    return rows
