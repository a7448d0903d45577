"""Convert training weights to the asset (OpenAI's names, QuickGELU, half precision, used token rows) and back."""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import load_file, save
from tools.pictoclip.model import QUICK_GELU
from tools.pictoclip.train import RECIPE_VERSION, Trainer
from torch import Tensor

from vlprompt.utils.files import atomic_write

VOCABULARY_SIZE = 49_408


def unfold(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Convert training weights (SiLU) to weights of the same model with QuickGELU."""
    unfolded = {}
    for name, weight in weights.items():
        scale = 1 / QUICK_GELU if ".c_fc." in name else QUICK_GELU if name.endswith("c_proj.weight") else 1.0
        unfolded[name] = weight.detach() * scale
    return unfolded


def packed(weights: Mapping[str, Tensor], token_ids: Sequence[int]) -> dict[str, Tensor]:
    """Convert to half precision; `token_embedding.weight` becomes `.rows` (n_used, width) and `.ids` (n_used,)."""
    tensors = {name: weight.cpu().half().contiguous() for name, weight in unfold(weights).items()}
    tensors["token_embedding.rows"] = tensors.pop("token_embedding.weight")
    tensors["token_embedding.ids"] = torch.tensor(token_ids, dtype=torch.int32)
    return tensors


def export(trainer: Trainer, path: Path, logit_scale: float | None = None) -> str:
    """Write the asset and its checksum beside it; return the SHA-256.

    `logit_scale` replaces the factor on cosines that training ended with.
    """
    facts = {
        "recipe_version": RECIPE_VERSION,
        "samples": trainer.seen,
        "device": trainer.device.type,
        "precision": str(trainer.precision).removeprefix("torch."),
        "recipe": asdict(trainer.recipe),
    }
    # A single entry: safetensors writes several in no fixed order, and the checksum must be reproducible.
    metadata = {"pictoclip": json.dumps(facts)}
    weights = dict(trainer.weights)
    if logit_scale is not None:
        weights["logit_scale"] = torch.tensor(math.log(logit_scale))
    content = save(packed(weights, trainer.data.vocabulary.ids), metadata)
    digest = hashlib.sha256(content).hexdigest()
    atomic_write(path, content)
    atomic_write(path.with_suffix(".sha256"), f"{digest}  {path.name}\n")
    return digest


def expanded(path: Path) -> dict[str, Tensor]:
    """Load the asset under OpenAI's names with all 49,408 token rows; rows that are not stored are zeros."""
    weights = load_file(path)
    rows, ids = weights.pop("token_embedding.rows"), weights.pop("token_embedding.ids").long()
    weights["token_embedding.weight"] = rows.new_zeros(VOCABULARY_SIZE, rows.shape[1]).index_copy(0, ids, rows)
    return weights
