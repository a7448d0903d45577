"""Mutual information between two views of the same classes: critics score pairs, estimators reduce the scores.

A critic T(u, v) returns a matrix (C, C) of scores for C pairs, with the matching pairs on its diagonal. An estimator
reduces it to a number in nats that grows with the mutual information of the views.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

HIDDEN = 64
START_SCALE = 1 / 0.07  # initial scale of CLIP's logits


def infonce(scores: Tensor) -> Tensor:
    """Return log C minus the symmetric cross-entropy of matching C pairs (van den Oord et al., arXiv 1807.03748).

    It is a lower bound on the mutual information, and at most log C.
    """
    pairs = torch.arange(len(scores), device=scores.device)
    cross_entropy = (F.cross_entropy(scores, pairs) + F.cross_entropy(scores.T, pairs)) / 2
    return math.log(len(scores)) - cross_entropy


def jsd(scores: Tensor) -> Tensor:
    """Return E_pos[-softplus(-T)] - E_neg[softplus(T)], Deep InfoMax's objective (Hjelm et al., arXiv 1808.06670).

    Its maximum over critics is 2 JSD - log 4 of joint and product of marginals, not the mutual information.
    """
    return -F.softplus(-scores.diagonal()).mean() - F.softplus(_negatives(scores)).mean()


def dv(scores: Tensor) -> Tensor:
    """Return E_pos[T] - log E_neg[exp T], the Donsker-Varadhan bound of MINE (Belghazi et al., arXiv 1801.04062)."""
    negatives = _negatives(scores)
    return scores.diagonal().mean() - negatives.logsumexp(0) + math.log(len(negatives))


ESTIMATORS: dict[str, Callable[[Tensor], Tensor]] = {"infonce": infonce, "jsd": jsd, "dv": dv}


def _negatives(scores: Tensor) -> Tensor:
    """Return the C (C - 1) off-diagonal entries of scores (C, C)."""
    count = len(scores)
    # Behind the last diagonal entry nothing is left; before it, each row of C + 1 ends with a diagonal entry.
    negatives: Tensor = scores.flatten()[:-1].unflatten(0, (count - 1, count + 1))[:, 1:]
    return negatives.flatten()


class Critic(nn.Module):
    """Base class of critics, which score pairs of unit vectors."""

    def forward(self, u: Tensor, v: Tensor) -> Tensor:
        """Return scores (M, N) of all pairs of u (M, D) and v (N, D)."""
        raise NotImplementedError


class CosineCritic(Critic):
    """T(u, v) = exp(log_scale) u . v, with a learned scale."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(math.log(START_SCALE)))

    def forward(self, u: Tensor, v: Tensor) -> Tensor:
        """Return scores (M, N)."""
        return self.log_scale.exp() * u @ v.T


class BilinearCritic(Critic):
    """T(u, v) = u . W v, with W (D, D) initialized like the cosine critic."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(START_SCALE * torch.eye(dim))

    def forward(self, u: Tensor, v: Tensor) -> Tensor:
        """Return scores (M, N)."""
        return u @ self.weight @ v.T


class MLPCritic(Critic):
    """T(u, v) = output(relu(left u + right v)), one hidden layer over the concatenated pair."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.left = nn.Linear(dim, HIDDEN)
        self.right = nn.Linear(dim, HIDDEN, bias=False)
        self.output = nn.Linear(HIDDEN, 1)

    def forward(self, u: Tensor, v: Tensor) -> Tensor:
        """Return scores (M, N)."""
        # The first layer is linear in the pair, so it runs on M + N vectors instead of M x N pairs.
        hidden = F.relu(self.left(u)[:, None] + self.right(v)[None])
        scores: Tensor = self.output(hidden)[..., 0]
        return scores


CRITICS: dict[str, Callable[[int], Critic]] = {"cosine": CosineCritic, "bilinear": BilinearCritic, "mlp": MLPCritic}
