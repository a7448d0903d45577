"""Head of the backbone `photos`: from the states of a sentence to a direction among an image model's features.

It has two parts. `NameReader` finds the class name between other words. `NameMap` compares what was read with known
names, and mixes the rows of the image model's classifier accordingly. Both were fitted to names alone.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vlprompt.backbones.bert import TextHead


class NameReader(nn.Module):
    """Attention pooling that reads the name in a sentence: states (N, L, d_t) to unit vectors (N, d_t).

    It is trained to return, for a sentence around a name, the sentence encoder's own vector for the bare name.

    Args:
        width: width of the states, d_t.
        hidden: number of hidden units that weigh a token.
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(width, hidden)
        self.weight = nn.Linear(hidden, 1, bias=False)
        self.value = nn.Linear(width, width)

    def forward(self, states: Tensor) -> Tensor:
        """Return unit vectors (N, d_t) of the last layer's states (N, L, d_t) of N sentences without padding."""
        weights = self.weight(F.gelu(self.hidden(states))).softmax(dim=1)  # (N, L, 1)
        pooled = (weights * states).sum(dim=1)
        return F.normalize(pooled + self.value(pooled), dim=-1)


class NameMap(TextHead):
    """Head that maps the states of sentences (N, L, d_t) to joint features (N, D).

    A name is a point among K known names. Each known name answers by exp((cosine - 1) / temperature), and the answers
    mix the C rows of an image classifier: kernel regression from names to rows.

    Args:
        width: width of the states, d_t.
        hidden: hidden units of the reader.
        names: number of known names, K.
        classes: number of rows of the classifier, C.
        embed_dim: joint dimension, D.

    Attributes:
        centers: unit vectors (K, d_t) of the known names.
        mixture: coefficients (K, C) of the rows for each known name.
        rows: unit rows (C, D) of the classifier.
        temperature: width of the kernel, a scalar.
    """

    centers: Tensor
    mixture: Tensor
    rows: Tensor
    temperature: Tensor

    def __init__(self, width: int, hidden: int, names: int, classes: int, embed_dim: int) -> None:
        super().__init__()
        self.reader = NameReader(width, hidden)
        self.register_buffer("centers", F.normalize(torch.randn(names, width), dim=-1))
        self.register_buffer("mixture", torch.randn(names, classes))
        self.register_buffer("rows", F.normalize(torch.randn(classes, embed_dim), dim=-1))
        self.register_buffer("temperature", torch.tensor(0.15))

    def pool(self, states: Tensor) -> Tensor:
        """Return what is read, unit vectors (N, d_t), of the last layer's states (N, L, d_t)."""
        read: Tensor = self.reader(states)
        return read

    def project(self, pooled: Tensor) -> Tensor:
        """Return features (..., D) of what was read, unit vectors (..., d_t)."""
        answers = ((pooled @ self.centers.T - 1) / self.temperature).exp()  # (..., K)
        features: Tensor = answers @ self.mixture @ self.rows
        return features
