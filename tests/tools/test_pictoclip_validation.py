"""Validation of pictoclip: the linear probe."""

import torch
from sklearn.linear_model import LogisticRegression
from tools.pictoclip.validate import _probe
from torch.nn import functional as F


def test_the_probe_is_scikit_learns_logistic_regression() -> None:
    rng = torch.Generator().manual_seed(0)
    labels = torch.arange(10).repeat(40)
    centers = torch.randn(10, 32, generator=rng)
    features = F.normalize(centers[labels] + 2 * torch.randn(400, 32, generator=rng), dim=-1)
    shots, tests = features[:160], features[160:]

    found = _probe(shots, labels[:160], tests, labels[160:])

    reference = LogisticRegression(C=10.0, max_iter=2000, tol=1e-8)
    reference.fit(10 * shots.double().numpy(), labels[:160].numpy())
    expected = reference.score(10 * tests.double().numpy(), labels[160:].numpy())
    assert 0.3 < expected < 0.95
    assert abs(found - expected) <= 1 / 240
