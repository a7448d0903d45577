"""Training with a contrastive loss and prototypes, on a budget of samples, resumable at any checkpoint."""

import json
import math
import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import load_file, save
from scipy.optimize import minimize_scalar
from tools.pictoclip import views
from tools.pictoclip.captions import EVALUATION_TEMPLATE, Mix, Vocabulary, every_text
from tools.pictoclip.data import Batch, TrainingSet
from tools.pictoclip.model import CLIP, Shape
from tools.pictoclip.names import SUBGROUP_PHRASES
from tools.pictoclip.optim import Muon
from torch import Tensor, nn
from torch.nn import functional as F

from vlprompt.utils.files import atomic_write

RECIPE_VERSION = 2
_PROTOTYPE_SCALE = 20.0
_MASKED = -1e4
_LARGEST_LOGIT_SCALE = math.log(100)
_SMALLEST_RATE = 1e-3


@dataclass(frozen=True, slots=True)
class Recipe:
    """Hyper-parameters of a training. Schedules depend on the samples seen as a share of `samples`."""

    samples: int
    seed: int = 1
    batch: int = 128
    shards: int = 2
    adam_rate: float = 1.2e-3
    muon_rate: float = 0.02
    prototype_rate: float = 2.4e-3
    auxiliary: float = 0.7
    warmup_samples: int = 12_800
    # (share of the budget at which the stage ends, share of the patches that are encoded)
    patch_stages: tuple[tuple[float, float], ...] = ((0.85, 0.5), (0.95, 0.75), (1.0, 1.0))
    # shares of a batch: other icons with a Unicode concept, icons without one; the rest are emoji
    icons: tuple[float, float] = (0.03, 0.12)
    captions: Mix = field(default_factory=Mix)
    styles: views.Styles = field(default_factory=views.Styles)

    def rate_at(self, seen: int) -> float:
        """Return the learning rate as a share of its peak: linear warm-up, then a cosine to zero."""
        if seen < self.warmup_samples:
            return (seen + self.batch) / (self.warmup_samples + self.batch)
        return max(_SMALLEST_RATE, 0.5 * (1 + math.cos(math.pi * seen / self.samples)))

    def patches_at(self, seen: int) -> float:
        return next(share for until, share in self.patch_stages if seen <= until * self.samples)


def stored_precision(checkpoint: Path) -> torch.dtype:
    """Return the precision of a checkpoint's training, which resuming must keep."""
    precision: torch.dtype = getattr(torch, _header(checkpoint)["precision"])
    return precision


def fast_precision() -> torch.dtype:
    """Return bfloat16 if this processor multiplies it faster than float32, else float32."""

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

    Weights are float32; the passes run in `precision`. The randomness of a step depends on (seed, step) only, so a
    restored state continues exactly as if it had not been interrupted.
    """

    def __init__(self, data: TrainingSet, recipe: Recipe, precision: torch.dtype, shape: Shape) -> None:
        torch.manual_seed(recipe.seed)
        self.data, self.recipe, self.shape, self.precision = data, recipe, shape, precision
        self.vocabulary = Vocabulary.of_texts(every_text(data.corpus.drawings, data.corpus.concepts))
        self.seen = 0
        self._pool = ThreadPoolExecutor(recipe.shards)
        self.model = CLIP(shape, len(self.vocabulary))
        self.weights: dict[str, Tensor] = dict(self.model.named_parameters())
        if precision != torch.float32:
            self.weights = {name: w.detach().clone() for name, w in self.weights.items()}
            self.model.to(precision)
        self.concept_prototypes = _prototypes(len(data.corpus.concepts.by_code), shape.joint)
        self.subgroup_prototypes = _prototypes(len(data.subgroup_names), shape.joint)
        blocks = {n: w for n, w in self.weights.items() if "resblocks" in n and w.ndim == 2}
        others = {n: w for n, w in self.weights.items() if n not in blocks}
        decayed = [w for n, w in others.items() if w.ndim >= 2 and "embedding" not in n]
        plain = [w for n, w in others.items() if w.ndim < 2 or "embedding" in n]
        self._clipped = [*decayed, *plain]
        self._muon = Muon(list(blocks.values()), weight_decay=0.02, pool=self._pool)
        self._adam = torch.optim.AdamW(
            [
                {"params": decayed, "weight_decay": 0.1, "peak": recipe.adam_rate, "eps": 1e-6},
                {"params": plain, "weight_decay": 0.0, "peak": recipe.adam_rate, "eps": 1e-6},
                {
                    "params": [self.concept_prototypes, self.subgroup_prototypes],
                    "weight_decay": 0.01,
                    "peak": recipe.prototype_rate,
                },
            ],
            betas=(0.9, 0.98),
            fused=True,
        )

    @property
    def finished(self) -> bool:
        return self.seen >= self.recipe.samples

    def step(self) -> dict[str, float]:
        """Train on one batch; return the loss terms and the share of images that found their caption.

        The batch is encoded in shards, one thread each; their features meet in the loss, and each thread computes the
        gradients of its shard. Threads then wait for each other twice per step and not at every operation, which on a
        machine with other work is the difference between full speed and a third of it.
        """
        shards = list(self._pool.map(self._encode, range(self.recipe.shards)))
        images, texts = ([getattr(shard, side).detach().float() for shard in shards] for side in ("image", "text"))
        for features in (*images, *texts):
            features.requires_grad_()
        loss, terms = self._loss(torch.cat(images), torch.cat(texts), [shard.batch for shard in shards])
        loss.backward()
        towers = [p for name, p in self.model.named_parameters() if name != "logit_scale"]
        parts = self._pool.map(partial(_gradients, towers), shards, images, texts)
        for parameter, *gradients in zip(towers, *parts, strict=True):
            parameter.grad = torch.stack(gradients).sum(0)
        self._update(self.recipe.rate_at(self.seen))
        self.seen += self.recipe.batch
        return terms

    def _encode(self, number: int) -> "_Shard":
        """Draw, augment and encode one shard in a thread of the pool, which must not start threads itself."""
        torch.set_num_threads(1)
        recipe, size = self.recipe, self.shape.image_size
        key = (recipe.seed, self.seen // recipe.batch, number)
        batch = self.data.batch(recipe.batch // recipe.shards, recipe.icons, recipe.captions, key)
        rng = torch.Generator().manual_seed(random.Random(str(key)).getrandbits(62))
        strength = views.strength_at(self.seen / recipe.samples)
        images = views.random_views(batch.pictures, batch.monochrome, size, strength, recipe.styles, rng)
        patches, share = self.shape.grid**2, recipe.patches_at(self.seen)
        kept = torch.rand(len(images), patches, generator=rng).argsort(1)[:, : round(patches * share)]
        normalized = views.normalize(images).to(self.precision)
        tokens, ends = self.vocabulary.encode([caption.text for caption in batch.captions])
        image = self.model.encode_image(normalized, kept if share < 1 else None)
        return _Shard(batch, image, self.model.encode_text(tokens, ends))

    def _loss(self, image: Tensor, text: Tensor, batches: list[Batch]) -> tuple[Tensor, dict[str, float]]:
        image, text = F.normalize(image, dim=-1), F.normalize(text, dim=-1)
        kinds, concept, subgroup = (
            torch.cat([getattr(batch, label) for batch in batches]) for label in ("kinds", "concepts", "subgroups")
        )
        general = torch.tensor([caption.of_subgroup for batch in batches for caption in batch.captions])
        logits = self.model.logit_scale.float().exp() * image @ text.T
        logits = logits.masked_fill(_also_true(kinds, subgroup, general), _MASKED)
        target = torch.arange(len(image))
        contrastive = (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2

        named, grouped = concept >= 0, subgroup >= 0
        concepts, groups = self.concept_prototypes, self.subgroup_prototypes
        image_concept = _to_prototypes(image, concepts, concept, named)
        text_concept = _to_prototypes(text, concepts, concept, named & ~general)
        image_group = _to_prototypes(image, groups, subgroup, grouped)
        text_group = _to_prototypes(text, groups, subgroup, grouped & general)
        auxiliary = image_concept + text_concept + 0.5 * image_group + 0.2 * text_group
        loss = contrastive + self.recipe.auxiliary * auxiliary
        found = (logits.argmax(1) == target).float().mean()
        terms = {"loss": loss, "contrastive": contrastive, "concept": image_concept, "found": found}
        return loss, {name: float(value.detach()) for name, value in terms.items()}

    @torch.no_grad()
    def _update(self, rate: float) -> None:
        for name, parameter in self.model.named_parameters():
            weight = self.weights[name]
            if weight is not parameter and parameter.grad is not None:
                weight.grad, parameter.grad = parameter.grad.float(), None
        nn.utils.clip_grad_norm_(self._clipped, 1.0)
        for group in self._adam.param_groups:
            group["lr"] = rate * group["peak"]
        self._adam.step()
        self._muon.step(rate * self.recipe.muon_rate)
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

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Evaluate zero-shot on the held-out drawings of each kind, with all patches.

        Returns top-1 accuracies among subgroups, and the mean reciprocal ranks of the right subgroup and of the right
        name among all concepts' names, averaged over kinds, which vary less by chance.
        """
        names = self._text_features([concept.label for concept in self.data.corpus.concepts.by_code.values()])
        scores: dict[str, float] = {}
        subgroup_ranks, name_ranks = [], []
        for kind, held_out in self._held_out():
            ranks = _ranks(held_out.cosines, held_out.subgroups)
            scores[kind] = float((ranks == 1).float().mean())
            subgroup_ranks.append(float((1 / ranks).mean()))
            name_ranks.append(float((1 / _ranks(held_out.images @ names.T, held_out.concepts)).mean()))
        scores["subgroup_rank"] = sum(subgroup_ranks) / len(subgroup_ranks)
        scores["name_rank"] = sum(name_ranks) / len(name_ranks)
        return scores

    @torch.no_grad()
    def calibrated_logit_scale(self) -> float:
        """Fit the factor on cosines to the held-out drawings' subgroups, all kinds weighted equally.

        The factor that training ends with is overconfident: it suits drawings that were seen many times.
        """
        held_out = [drawings for _, drawings in self._held_out()]

        def surprise(scale: float) -> float:
            return sum(float(F.cross_entropy(scale * part.cosines, part.subgroups)) for part in held_out)

        return float(minimize_scalar(surprise, bounds=(1.0, 100.0), method="bounded").x)

    def _held_out(self) -> Iterator[tuple[str, "_HeldOut"]]:
        """Yield the held-out drawings of each kind with their cosines to the phrases of all subgroups."""
        data = self.data
        groups = [row for row, name in enumerate(data.subgroup_names) if name in SUBGROUP_PHRASES]
        phrases = self._text_features([SUBGROUP_PHRASES[data.subgroup_names[row]][0] for row in groups])
        position = torch.full((len(data.subgroup_names),), -1)
        position[groups] = torch.arange(len(groups))
        for kind, index in data.held_out.items():
            index = index[position[data.subgroups[index]] >= 0]  # a few subgroups have no phrase
            images = torch.cat([self._image_features(part) for part in index.split(250)])
            yield kind, _HeldOut(images, images @ phrases.T, position[data.subgroups[index]], data.concepts[index])

    def _image_features(self, index: Tensor) -> Tensor:
        images = self.data.plain(index, self.shape.image_size)
        return F.normalize(self.model.encode_image(images.to(self.precision)).float(), dim=-1)

    def _text_features(self, names: list[str]) -> Tensor:
        texts = [EVALUATION_TEMPLATE.format(name) for name in names]
        parts = [self.vocabulary.encode(texts[i : i + 250]) for i in range(0, len(texts), 250)]
        features = torch.cat([self.model.encode_text(*part) for part in parts])
        return F.normalize(features.float(), dim=-1)


@dataclass(frozen=True, slots=True)
class _Shard:
    """A part of a batch, and its features (b, joint), not normalized, with their graph."""

    batch: Batch
    image: Tensor
    text: Tensor


@dataclass(frozen=True, slots=True)
class _HeldOut:
    """N held-out drawings.

    Unit features `images` (N, joint), `cosines` (N, G) to every subgroup's phrase, and labels: `subgroups` (N,) among
    the G, `concepts` (N,) among all concepts.
    """

    images: Tensor
    cosines: Tensor
    subgroups: Tensor
    concepts: Tensor


def resume_or_start(trainer: Trainer, folder: Path) -> None:
    """Load the last checkpoint of `folder`, or create the folder."""
    if (folder / "state.safetensors").exists():
        trainer.load(folder / "state.safetensors")
    folder.mkdir(parents=True, exist_ok=True)


def run(
    trainer: Trainer,
    folder: Path,
    *,
    checkpoint_every: int = 10_000,
    validate_every: int = 50_000,
    on_checkpoint: Callable[[Trainer], object] | None = None,
) -> dict[str, float]:
    """Train to the end of the budget, with `state.safetensors` and `log.jsonl` in `folder`.

    Returns the scores of `validate` at the end.
    """
    start, first = time.perf_counter(), trainer.seen
    recent: list[dict[str, float]] = []
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
            _log(folder, {"seen": trainer.seen, **trainer.validate()})
    scores = trainer.validate()
    _log(folder, {"seen": trainer.seen, **scores})
    return scores


def _header(checkpoint: Path) -> dict[str, Any]:
    with safetensors.safe_open(checkpoint, "pt") as file:
        header: dict[str, Any] = json.loads(file.metadata()["checkpoint"])
    return header


def _report(trainer: Trainer, recent: list[dict[str, float]], folder: Path, per_second: float) -> None:
    means = {name: sum(terms[name] for terms in recent) / len(recent) for name in recent[0]}
    minutes = (trainer.recipe.samples - trainer.seen) / per_second / 60
    rate = trainer.recipe.rate_at(trainer.seen)
    row = {"seen": trainer.seen, **means, "rate": rate, "per_second": per_second, "minutes_left": minutes}
    _log(folder, row)


def _log(folder: Path, row: dict[str, float]) -> None:
    line = json.dumps({k: round(v, 4) for k, v in row.items()} | {"time": time.strftime("%H:%M:%S")})
    print(line, flush=True)
    with (folder / "log.jsonl").open("a") as log:
        log.write(line + "\n")


def _prototypes(rows: int, width: int) -> Tensor:
    prototypes: Tensor = torch.randn(rows, width) * width**-0.5
    return prototypes.requires_grad_()


def _to_prototypes(features: Tensor, prototypes: Tensor, labels: Tensor, chosen: Tensor) -> Tensor:
    """Return the cross-entropy of the chosen rows over cosine similarities to all prototypes, or 0 without any."""
    if not chosen.any():
        return features.new_zeros(())
    logits = _PROTOTYPE_SCALE * features[chosen] @ F.normalize(prototypes, dim=-1).T
    return F.cross_entropy(logits, labels[chosen])


def _ranks(scores: Tensor, right: Tensor) -> Tensor:
    """Return the rank (N,), from 1, of the right column (N,) in scores (N, C)."""
    return 1 + (scores > scores.gather(1, right[:, None])).sum(1)


def _gradients(parameters: list[nn.Parameter], shard: _Shard, image: Tensor, text: Tensor) -> list[Tensor]:
    """Return the gradients of a shard, given those of the loss with respect to its features."""
    torch.set_num_threads(1)
    outputs = (shard.image, shard.text)
    received = [features.grad.to(shard.image.dtype) for features in (image, text) if features.grad is not None]
    return list(torch.autograd.grad(outputs, parameters, received))


def _also_true(kinds: Tensor, subgroups: Tensor, general: Tensor) -> Tensor:
    """Return a mask (B, B) of pairs of image and caption that match without belonging together, so no negatives."""
    same_kind = kinds[:, None] == kinds
    same_subgroup = (subgroups[:, None] == subgroups) & (subgroups >= 0)
    also_true = same_kind | (same_subgroup & general)
    pairs: Tensor = also_true & ~torch.eye(len(also_true), dtype=torch.bool)
    return pairs
