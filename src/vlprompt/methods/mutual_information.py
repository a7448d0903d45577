"""How much two views of the same classes tell of one another: critics score pairs, estimators read the scores.

A critic T(u, v) gives a matrix (C, C) of scores for C pairs; on its diagonal are the pairs that belong together. An
estimator makes of it a number in nats that grows with the mutual information of the views.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

HIDDEN = 64
START_SCALE = 1 / 0.07  # where CLIP's own temperature started


def infonce(scores: Tensor) -> Tensor:
    """log C minus the symmetric cross-entropy of finding each pair among C (van den Oord et al., arXiv 1807.03748).

    A lower bound on the mutual information, and never above log C.
    """
    pairs = torch.arange(len(scores), device=scores.device)
    cross_entropy = (F.cross_entropy(scores, pairs) + F.cross_entropy(scores.T, pairs)) / 2
    return math.log(len(scores)) - cross_entropy


def jsd(scores: Tensor) -> Tensor:
    """E_pos[-softplus(-T)] - E_neg[softplus(T)], Deep InfoMax's objective (Hjelm et al., arXiv 1808.06670).

    Its maximum over critics is 2 JSD - log 4 of the joint against the product of the marginals, not the information.
    """
    return -F.softplus(-scores.diagonal()).mean() - F.softplus(_negatives(scores)).mean()


def dv(scores: Tensor) -> Tensor:
    """E_pos[T] - log E_neg[exp T], the Donsker-Varadhan bound of MINE (Belghazi et al., arXiv 1801.04062)."""
    negatives = _negatives(scores)
    return scores.diagonal().mean() - negatives.logsumexp(0) + math.log(len(negatives))


ESTIMATORS: dict[str, Callable[[Tensor], Tensor]] = {"infonce": infonce, "jsd": jsd, "dv": dv}


def _negatives(scores: Tensor) -> Tensor:
    """The C (C - 1) scores (C, C) off the diagonal."""
    return scores[~torch.eye(len(scores), dtype=torch.bool, device=scores.device)]


class Critic(nn.Module):
    """Scores of pairs of unit vectors."""

    def forward(self, u: Tensor, v: Tensor) -> Tensor:
        """Scores (M, N) of all pairs of u (M, D) with v (N, D)."""
        raise NotImplementedError


class CosineCritic(Critic):
    """T(u, v) = exp(log_scale) u . v, with a scale that is learned."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(math.log(START_SCALE)))

    def forward(self, u: Tensor, v: Tensor) -> Tensor:
        """Scores (M, N)."""
        return self.log_scale.exp() * u @ v.T


class BilinearCritic(Critic):
    """T(u, v) = u . W v, with W (D, D) that starts as the cosine critic does."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(START_SCALE * torch.eye(dim))

    def forward(self, u: Tensor, v: Tensor) -> Tensor:
        """Scores (M, N)."""
        return u @ self.weight @ v.T


class MLPCritic(Critic):
    """T(u, v) = output(relu(left u + right v)), one hidden layer over the joined pair."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.left = nn.Linear(dim, HIDDEN)
        self.right = nn.Linear(dim, HIDDEN, bias=False)
        self.output = nn.Linear(HIDDEN, 1)

    def forward(self, u: Tensor, v: Tensor) -> Tensor:
        """Scores (M, N)."""
        # The first layer is linear in the pair, so that it runs on M + N vectors and not on M x N pairs.
        hidden = F.relu(self.left(u)[:, None] + self.right(v)[None])
        scores: Tensor = self.output(hidden)[..., 0]
        return scores


CRITICS: dict[str, Callable[[int], Critic]] = {"cosine": CosineCritic, "bilinear": BilinearCritic, "mlp": MLPCritic}
