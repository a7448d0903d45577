"""Fit the two parts of the head: the reader by gradient descent, the map in closed form."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from tools.photos.encode import Sentences
from tools.photos.names import Known
from torch import Tensor, nn

from vlprompt.backbones.name_map import NameReader

EPOCHS, RATE, HIDDEN = 5, 2e-3, 64
SHARPNESS, CONTRAST = 20.0, 0.3
TEMPERATURE, RIDGE = 0.15, 0.3


def fit_reader(sentences: Sequence[Sentences], vectors: Tensor, seed: int) -> NameReader:
    """Train a reader to return the vector of the bare name in a sentence, nearer than the other names of a batch.

    Args:
        sentences: states of sentences around names.
        vectors: unit vectors (N, d_t) of the bare names.
        seed: seed of the initialization and of the order of batches.
    """
    torch.manual_seed(seed)
    reader = NameReader(vectors.shape[1], HIDDEN)
    for parameter in (reader.weight.weight, reader.value.weight, reader.value.bias):  # starts as the mean
        nn.init.zeros_(parameter)
    optimizer = torch.optim.AdamW(reader.parameters(), RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=EPOCHS * len(sentences))
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(sentences)).tolist():
            states, names = sentences[batch].states, sentences[batch].names
            read, aims = reader(states), vectors[names]
            same = (names[:, None] == names[None]).float()
            contrast = F.cross_entropy(SHARPNESS * read @ aims.T, same / same.sum(1, keepdim=True))
            loss = (1 - (read * aims).sum(1)).mean() + CONTRAST * contrast
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return reader.requires_grad_(False)


def read_rate(reader: nn.Module, sentences: Sequence[Sentences], vectors: Tensor) -> float:
    """Return how often, in percent, what is read in a sentence is nearest to its own name among all of them."""
    read = torch.cat([reader(group.states) for group in sentences])
    names = torch.cat([group.names for group in sentences])
    present = names.unique()
    hits = present[(read @ vectors[present].T).argmax(1)] == names
    return 100 * hits.float().mean().item()


def fit_map(
    vectors: Tensor, known: Known, rows: Tensor, temperature: float = TEMPERATURE, ridge: float = RIDGE
) -> tuple[Tensor, Tensor]:
    """Return centers (K, d_t) and mixture (K, C) of kernel ridge regression from names to directions.

    Args:
        vectors: unit vectors (K, d_t) of the known names.
        known: K known names.
        rows: unit rows (C, D) of the classifier.
        temperature: width of the kernel.
        ridge: strength of the regularization.
    """
    aims = known.mixtures / (known.mixtures @ rows).norm(dim=1, keepdim=True)
    system = kernel(vectors, vectors, temperature) + ridge * torch.eye(len(vectors))
    return vectors, torch.linalg.solve(system, aims)


def kernel(vectors: Tensor, centers: Tensor, temperature: float) -> Tensor:
    """Return the answers (N, K) of centers (K, d_t) to vectors (N, d_t), all of unit length."""
    return ((vectors @ centers.T - 1) / temperature).exp()
