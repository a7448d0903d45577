"""Training with a contrastive loss and prototypes, on a budget of samples, resumable at any checkpoint."""

import json
import math
import random
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import safetensors
import torch
from safetensors.torch import load_file, save
from tools.pictoclip.captions import CONTEXT_LENGTH, Forms
from tools.pictoclip.data import Job, Plan, Planner, TrainingSet
from tools.pictoclip.graphs import Batch, Graphs
from tools.pictoclip.model import CLIP, Shape
from tools.pictoclip.optim import Muon
from tools.pictoclip.render import Atlas, normalize, sent
from tools.pictoclip.scenes import MAIN, Mix, strength_at
from tools.pictoclip.validate import World, fitted_logit_scale, validate
from torch import Tensor, nn
from torch.nn import functional as F

from vlprompt.utils.files import atomic_write

RECIPE_VERSION = 3
_PROTOTYPE_SCALE = 20.0
_MASKED = -1e4
_LARGEST_LOGIT_SCALE = math.log(100)
_SMALLEST_RATE = 1e-3
# Every eighth batch has long contexts, so that all positions are trained.
_LONG_EVERY, _LONGEST = 8, 56
_Item, _Result = TypeVar("_Item"), TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class Recipe:
    """Hyper-parameters of a training. Schedules depend on the samples seen as a share of `samples`."""

    samples: int
    seed: int = 1
    batch: int = 128
    adam_rate: float = 1.2e-3
    muon_rate: float = 0.02
    prototype_rate: float = 2.4e-3
    auxiliary: float = 0.7
    warmup_steps: int = 100
    # (share of the budget at which the stage ends, share of the patches that are encoded)
    patch_stages: tuple[tuple[float, float], ...] = ((0.6, 0.5), (1.0, 1.0))
    # shares of a batch: other icons with a Unicode concept, icons without one; the rest are emoji
    icons: tuple[float, float] = (0.04, 0.14)
    forms: Forms = field(default_factory=Forms)
    mix: Mix = field(default_factory=Mix)

    def rate_at(self, seen: int) -> float:
        """Return the learning rate as a share of its peak: linear warm-up, then a cosine to zero."""
        step = seen // self.batch
        if step < self.warmup_steps:
            return (step + 1) / (self.warmup_steps + 1)
        return max(_SMALLEST_RATE, 0.5 * (1 + math.cos(math.pi * seen / self.samples)))

    def patches_at(self, seen: int) -> float:
        return next(share for until, share in self.patch_stages if seen <= until * self.samples)

    def job(self, step: int) -> Job:
        """Return what the batch of `step` depends on."""
        job = Job((self.seed, step), self.batch, self.icons, self.mix, self.forms)
        strength = round(strength_at(step * self.batch / self.samples), 3)
        if step % _LONG_EVERY:
            return replace(job, strength=strength)
        return replace(job, strength=strength, longest=_LONGEST, length=CONTEXT_LENGTH)


# Samples in a batch by the type of the device.
BATCHES = {"cuda": 2048, "cpu": 128}


def training_device() -> torch.device:
    """Return the GPU if there is one, else the CPU."""
    torch.set_float32_matmul_precision("high")
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def stored_precision(checkpoint: Path) -> torch.dtype:
    """Return the precision of a checkpoint's training, which resuming must keep."""
    precision: torch.dtype = getattr(torch, _header(checkpoint)["precision"])
    return precision


def fast_precision(device: torch.device) -> torch.dtype:
    """Return bfloat16 if the device multiplies it faster than float32, else float32."""
    if device.type == "cuda":
        return torch.bfloat16

    def seconds(dtype: torch.dtype) -> float:
        x, weight = torch.ones(2048, 192, dtype=dtype), torch.ones(192, 768, dtype=dtype)
        times = []
        for _ in range(5):
            start = time.perf_counter()
            x @ weight
            times.append(time.perf_counter() - start)
        return min(times)

    return torch.bfloat16 if seconds(torch.bfloat16) < seconds(torch.float32) else torch.float32


class Trainer:
    """Model, prototypes, optimizers and the number of samples seen.

    Weights are float32; the passes run in `precision` on the atlas' device. The randomness of a step depends on
    (seed, step) only, so a restored state continues exactly as if it had not been interrupted. On a CPU a batch is
    encoded in two `shards`, one thread each; on a GPU steps are replayed as CUDA graphs if `replay`.
    """

    def __init__(
        self,
        data: TrainingSet,
        recipe: Recipe,
        precision: torch.dtype,
        shape: Shape,
        atlas: Atlas,
        planner: Planner,
        *,
        replay: bool = True,
    ) -> None:
        torch.manual_seed(recipe.seed)
        self.data, self.recipe, self.shape, self.precision = data, recipe, shape, precision
        self.atlas, self.device, self._planner = atlas, atlas.device, planner
        self.seen = 0
        on_gpu = self.device.type == "cuda"
        self.shards = 1 if on_gpu else 2
        self._threads = None if on_gpu else ThreadPoolExecutor(self.shards)
        self.model = CLIP(shape, len(data.vocabulary)).to(self.device)
        self.weights: dict[str, Tensor] = dict(self.model.named_parameters())
        if precision != torch.float32:
            self.weights = {name: w.detach().clone() for name, w in self.weights.items()}
            self.model.to(precision)
        self.concept_prototypes = _prototypes(len(data.corpus.concepts.by_code), shape.joint, self.device)
        self.subgroup_prototypes = _prototypes(len(data.subgroup_names), shape.joint, self.device)
        self._labels = {name: getattr(data, name).to(self.device) for name in ("kinds", "concepts", "subgroups")}
        blocks = {n: w for n, w in self.weights.items() if "resblocks" in n and w.ndim == 2}
        others = {n: w for n, w in self.weights.items() if n not in blocks}
        decayed = [w for n, w in others.items() if w.ndim >= 2 and "embedding" not in n]
        plain = [w for n, w in others.items() if w.ndim < 2 or "embedding" in n]
        self._clipped = [*decayed, *plain]
        self._muon = Muon(list(blocks.values()), weight_decay=0.02, threads=self._threads)
        self._rate = torch.zeros((), device=self.device)
        self._adam = torch.optim.AdamW(
            [
                {"params": params, "weight_decay": decay, "peak": peak, "lr": torch.zeros_like(self._rate)}
                for params, decay, peak in (
                    (decayed, 0.1, recipe.adam_rate),
                    (plain, 0.0, recipe.adam_rate),
                    ([self.concept_prototypes, self.subgroup_prototypes], 0.01, recipe.prototype_rate),
                )
            ],
            betas=(0.9, 0.98),
            fused=True,
            capturable=on_gpu,
        )
        self._graphs = Graphs() if on_gpu and replay else None

    @property
    def finished(self) -> bool:
        return self.seen >= self.recipe.samples

    def step(self) -> dict[str, Tensor]:
        """Train on one batch; return the loss terms and the share of images that found their caption."""
        step = self.seen // self.recipe.batch
        plan = self._planner.plan(step, self.recipe.job)
        if self._graphs:  # few shapes, each of which costs a graph
            plan = plan.padded(self.recipe.job(step).length)
        parts = list(self._in_threads(partial(self._drawn, plan), range(self.shards)))
        self._rate.fill_(self.recipe.rate_at(self.seen))
        batch = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
        terms = self._graphs.run(self._train, batch) if self._graphs else self._train(batch)
        self.seen += self.recipe.batch
        return terms

    def _in_threads(self, function: Callable[[_Item], _Result], items: Iterable[_Item]) -> Iterable[_Result]:
        return self._threads.map(function, items) if self._threads else map(function, items)

    def _drawn(self, plan: Plan, number: int) -> Batch:
        """Draw one shard in a thread of the pool, which must not start threads itself.

        Returns normalized `images` (b, 3, S, S); the patches `kept` (b, n), unless all are; `tokens` (b, L) with `ends`
        (b,) and random `vectors` (b, L, D) of each text's spread; `kinds` and `subgroups` (b, 4) of the things in an
        image, or -1, and the main thing's `concepts` (b,); and whether a caption is `general` (b,).
        """
        torch.set_num_threads(1)
        recipe, each = self.recipe, self.recipe.batch // self.shards
        plan = plan.rows(number * each, (number + 1) * each)
        seed = random.Random(str((recipe.seed, self.seen // recipe.batch, number))).getrandbits(62)
        rng = torch.Generator(self.device).manual_seed(seed)
        images = normalize(self.atlas.render(plan.scenes, self.shape.image_size, rng)).to(self.precision)
        batch = {"images": images}
        patches, share = self.shape.grid**2, recipe.patches_at(self.seen)
        if share < 1:
            order = torch.rand(len(images), patches, generator=rng, device=self.device).argsort(1)
            batch["kept"] = order[:, : round(patches * share)]
        tokens, ends, spreads, general, drawings = (
            sent(array, self.device)
            for array in (plan.tokens, plan.ends, plan.spreads, plan.general, plan.scenes.drawings)
        )
        shape = (*tokens.shape, self.shape.text_width)
        vectors = torch.randn(shape, generator=rng, device=self.device) * spreads[:, None, None]
        batch |= {"tokens": tokens, "ends": ends, "vectors": vectors.to(self.precision), "general": general}
        labels = {name: rows[drawings].masked_fill(drawings < 0, -1) for name, rows in self._labels.items()}
        return batch | labels | {"concepts": labels["concepts"][:, MAIN]}

    def _train(self, batch: Batch) -> dict[str, Tensor]:
        """Update the weights with the gradients of a batch on the device; return the terms of `_loss`.

        The batch is encoded in shards, one thread each; their features meet in the loss, and each thread computes the
        gradients of its shard. Threads then wait for each other twice and not at every operation, which on a machine
        with other work is the difference between full speed and a third of it.
        """
        shards = list(self._in_threads(self._encode, _split(batch, self.shards)))
        images, texts = ([getattr(shard, side).detach().float() for shard in shards] for side in ("image", "text"))
        for features in (*images, *texts):
            features.requires_grad_()
        loss, terms = self._loss(torch.cat(images), torch.cat(texts), batch)
        loss.backward()
        towers = [p for name, p in self.model.named_parameters() if name != "logit_scale"]
        parts = self._in_threads(partial(_gradients, towers), zip(shards, images, texts, strict=True))
        for parameter, *gradients in zip(towers, *parts, strict=True):
            parameter.grad = sum(gradients[1:], start=gradients[0])
        self._update()
        return terms

    def _encode(self, batch: Batch) -> "_Shard":
        torch.set_num_threads(1)
        image = self.model.encode_image(batch["images"], batch.get("kept"))
        return _Shard(image, self.model.encode_text(batch["tokens"], batch["ends"], batch["vectors"]))

    def _loss(self, image: Tensor, text: Tensor, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        image, text = F.normalize(image, dim=-1), F.normalize(text, dim=-1)
        kinds, concept, subgroups, general = (batch[name] for name in ("kinds", "concepts", "subgroups", "general"))
        logits = self.model.logit_scale.float().exp() * image @ text.T
        logits = logits.masked_fill(_also_true(kinds, subgroups, general), _MASKED)
        target = torch.arange(len(image), device=self.device)
        contrastive = (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2

        subgroup = subgroups[:, MAIN]
        image_concept = _to_prototypes(image, self.concept_prototypes, concept)
        text_concept = _to_prototypes(text, self.concept_prototypes, concept.masked_fill(general, -1))
        image_group = _to_prototypes(image, self.subgroup_prototypes, subgroup)
        text_group = _to_prototypes(text, self.subgroup_prototypes, subgroup.masked_fill(~general, -1))
        auxiliary = image_concept + text_concept + 0.5 * image_group + 0.2 * text_group
        loss = contrastive + self.recipe.auxiliary * auxiliary
        found = (logits.argmax(1) == target).float().mean()
        terms = {"loss": loss, "contrastive": contrastive, "concept": image_concept, "found": found}
        return loss, {name: value.detach() for name, value in terms.items()}

    @torch.no_grad()
    def _update(self) -> None:
        for name, parameter in self.model.named_parameters():
            weight = self.weights[name]
            if weight is not parameter and parameter.grad is not None:
                weight.grad, parameter.grad = parameter.grad.float(), None
        nn.utils.clip_grad_norm_(self._clipped, 1.0)
        for group in self._adam.param_groups:
            group["lr"].copy_(self._rate * group["peak"])
        self._adam.step()
        self._muon.step(self._rate * self.recipe.muon_rate)
        self.weights["logit_scale"].clamp_(0, _LARGEST_LOGIT_SCALE)
        self._adam.zero_grad()
        for name, parameter in self.model.named_parameters():
            if self.weights[name] is not parameter:
                parameter.copy_(self.weights[name])
            self.weights[name].grad = None

    def state(self) -> dict[str, Tensor]:
        """Everything a later `load` needs, as named float32 tensors."""
        state = {f"model.{name}": weight.detach() for name, weight in self.weights.items()}
        state["prototypes.concepts"] = self.concept_prototypes.detach()
        state["prototypes.subgroups"] = self.subgroup_prototypes.detach()
        state |= {f"muon.{i}": momentum for i, momentum in enumerate(self._muon.momentum)}
        for i, slots in self._adam.state_dict()["state"].items():
            state |= {f"adam.{i}.{slot}": value for slot, value in slots.items()}
        return state

    def save(self, path: Path) -> None:
        header = {
            "samples_seen": self.seen,
            "precision": str(self.precision).removeprefix("torch."),
            "recipe": asdict(self.recipe),
            "recipe_version": RECIPE_VERSION,
        }
        tensors = {name: tensor.contiguous() for name, tensor in self.state().items()}
        atomic_write(path, save(tensors, {"checkpoint": json.dumps(header)}))

    def load(self, path: Path) -> None:
        """Restore a checkpoint. Raises ValueError if its recipe differs."""
        header, state = _header(path), load_file(path)
        if header["recipe"] != json.loads(json.dumps(asdict(self.recipe))):
            raise ValueError(f"{path} was written with a different recipe: {header['recipe']}")
        self.seen = header["samples_seen"]
        with torch.no_grad():
            for name, weight in self.weights.items():
                weight.copy_(state[f"model.{name}"])
            for name, parameter in self.model.named_parameters():
                parameter.copy_(self.weights[name])
            self.concept_prototypes.copy_(state["prototypes.concepts"])
            self.subgroup_prototypes.copy_(state["prototypes.subgroups"])
            for i, momentum in enumerate(self._muon.momentum):
                momentum.copy_(state[f"muon.{i}"])
        slots: dict[int, dict[str, Tensor]] = {}
        for name, value in state.items():
            if name.startswith("adam."):
                _, index, slot = name.split(".")
                slots.setdefault(int(index), {})[slot] = value
        self._adam.load_state_dict({**self._adam.state_dict(), "state": slots})

    def validate(self, worlds: list[World], probe: bool = False) -> dict[str, Any]:
        """Evaluate on validation worlds, with all patches; see `validate.validate`."""
        return validate(self.data, worlds, self._image_features, self._text_features, probe)

    def fitted_logit_scale(self, worlds: list[World]) -> float:
        return fitted_logit_scale(worlds, self._image_features, self._text_features)

    @torch.no_grad()
    def _image_features(self, images: Tensor) -> Tensor:
        """Return unit features of images in 0..1."""
        return F.normalize(self.model.encode_image(normalize(images).to(self.precision)).float(), dim=-1)

    @torch.no_grad()
    def _text_features(self, texts: Sequence[str], spread: float = 0.0) -> Tensor:
        """Return unit features; random vectors are the same for all texts."""
        tokens, ends = (sent(array, self.device) for array in self.data.vocabulary.encode(texts))
        rng = torch.Generator(self.device).manual_seed(0)
        vectors = torch.randn(1, tokens.shape[1], self.shape.text_width, generator=rng, device=self.device) * spread
        return F.normalize(self.model.encode_text(tokens, ends, vectors.to(self.precision)).float(), dim=-1)


@dataclass(frozen=True, slots=True)
class _Shard:
    """Features (b, joint) of a part of a batch, not normalized, with their graph."""

    image: Tensor
    text: Tensor


def resume_or_start(trainer: Trainer, folder: Path) -> None:
    """Load the last checkpoint of `folder`, or create the folder."""
    if (folder / "state.safetensors").exists():
        trainer.load(folder / "state.safetensors")
    folder.mkdir(parents=True, exist_ok=True)


def run(
    trainer: Trainer,
    folder: Path,
    worlds: list[World],
    *,
    checkpoint_every: int = 10_000,
    validate_every: int = 50_000,
    on_checkpoint: Callable[[Trainer], object] | None = None,
) -> dict[str, Any]:
    """Train to the end of the budget, with `state.safetensors` and `log.jsonl` in `folder`.

    Returns the scores of `validate` at the end, with those of the linear probe.
    """
    start, first = time.perf_counter(), trainer.seen
    recent: list[dict[str, Tensor]] = []
    while not trainer.finished:
        before = trainer.seen
        recent.append(trainer.step())
        if len(recent) == 50 or trainer.finished:
            _report(trainer, recent, folder, (trainer.seen - first) / (time.perf_counter() - start))
            recent = []
        crossed = [before // n < trainer.seen // n or trainer.finished for n in (checkpoint_every, validate_every)]
        if crossed[0]:
            trainer.save(folder / "state.safetensors")
            if on_checkpoint:
                on_checkpoint(trainer)
        if crossed[1] and not trainer.finished:
            _log(folder, {"seen": trainer.seen, **trainer.validate(worlds)})
    scores = trainer.validate(worlds, probe=True)
    _log(folder, {"seen": trainer.seen, **scores})
    return scores


def _header(checkpoint: Path) -> dict[str, Any]:
    with safetensors.safe_open(checkpoint, "pt") as file:
        header: dict[str, Any] = json.loads(file.metadata()["checkpoint"])
    return header


def _report(trainer: Trainer, recent: list[dict[str, Tensor]], folder: Path, per_second: float) -> None:
    means = {name: float(torch.stack([terms[name] for terms in recent]).mean()) for name in recent[0]}
    minutes = (trainer.recipe.samples - trainer.seen) / per_second / 60
    rate = trainer.recipe.rate_at(trainer.seen)
    row = {"seen": trainer.seen, **means, "rate": rate, "per_second": per_second, "minutes_left": minutes}
    _log(folder, row)


def _log(folder: Path, row: dict[str, Any]) -> None:
    line = json.dumps(_rounded(row) | {"time": time.strftime("%H:%M:%S")})
    print(line, flush=True)
    with (folder / "log.jsonl").open("a") as log:
        log.write(line + "\n")


def _rounded(row: dict[str, Any]) -> dict[str, Any]:
    return {k: _rounded(v) if isinstance(v, dict) else round(v, 4) for k, v in row.items()}


def _prototypes(rows: int, width: int, device: torch.device) -> Tensor:
    prototypes: Tensor = (torch.randn(rows, width) * width**-0.5).to(device)
    return prototypes.requires_grad_()


def _to_prototypes(features: Tensor, prototypes: Tensor, labels: Tensor) -> Tensor:
    """Return the mean cross-entropy over cosine similarities to all prototypes of the rows with a label, not -1."""
    logits = _PROTOTYPE_SCALE * features @ F.normalize(prototypes, dim=-1).T
    total = F.cross_entropy(logits, labels, ignore_index=-1, reduction="sum")
    return total / (labels >= 0).sum().clamp(min=1)


def _split(batch: Batch, parts: int) -> list[Batch]:
    """Split a batch into batches of equal size."""
    each = len(batch["images"]) // parts
    return [{name: rows[i * each : (i + 1) * each] for name, rows in batch.items()} for i in range(parts)]


def _gradients(parameters: list[nn.Parameter], encoded: tuple["_Shard", Tensor, Tensor]) -> list[Tensor]:
    """Return the gradients of a shard, given its features with the loss's gradients."""
    torch.set_num_threads(1)
    shard, *features = encoded
    outputs = (shard.image, shard.text)
    received = [leaf.grad.to(shard.image.dtype) for leaf in features if leaf.grad is not None]
    return list(torch.autograd.grad(outputs, parameters, received))


def _also_true(kinds: Tensor, subgroups: Tensor, general: Tensor) -> Tensor:
    """Return a mask (B, B) of images and captions that match without belonging together, so no negatives.

    `kinds`, `subgroups` (B, 4) are those of an image's things, or -1. A caption speaks of the main one's kind, or if
    `general` (B,) of its subgroup.
    """
    also_true = torch.zeros(len(kinds), len(kinds), dtype=torch.bool, device=kinds.device)
    said_kind, said_subgroup = kinds[:, MAIN], subgroups[:, MAIN].masked_fill(~general, -2)
    for layer in range(kinds.shape[1]):
        also_true |= kinds[:, layer, None] == said_kind
        also_true |= subgroups[:, layer, None] == said_subgroup
    return also_true.fill_diagonal_(False)
