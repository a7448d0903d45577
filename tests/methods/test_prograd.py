"""ProGrad beyond its recorded cases."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lightning_fabric import Fabric
from lightning_fabric.plugins import MixedPrecision
from torch import Tensor

import vlprompt
from tests.helpers.shapes import NAMES, TEXT_WIDTH, batch, losses, uneven
from vlprompt import Method, VLPromptError
from vlprompt.methods.prograd import projected

# Two processes train on half of a batch each; the first prints the distance of its gradient to that of the whole batch.
TWO_DEVICES = """
import torch
from lightning_fabric import Fabric
import vlprompt
from tests.helpers.shapes import NAMES, batch, uneven
from tests.methods.test_prograd import conflicting

def half(fabric):
    torch.set_num_threads(1)
    method = conflicting()
    wrapped, _ = fabric.setup(method, torch.optim.SGD(method.parameters(), lr=0.1))
    images, labels = batch()
    for _ in range(2):  # the second step checks the state that the reducer is left in
        own = slice(3 * fabric.global_rank, 3 * fabric.global_rank + 3)
        method.backward(method.loss(wrapped(images[own]), labels[own]), fabric)
    found = method.text_context.grad.clone()
    method = conflicting()
    method.backward(method.loss(method(images), labels))
    if fabric.global_rank == 0:
        expected = method.text_context.grad
        print("distance", ((found - expected).norm() / expected.norm()).item())

Fabric(accelerator="cpu", devices=2, strategy="ddp_fork").launch(half)
"""


class Scaling:
    """Scale losses as fp16 training does, in fp32."""

    def __init__(self, scale: float) -> None:
        self.scale = scale

    def backward(self, tensor: Tensor, *, retain_graph: bool = False) -> None:
        (self.scale * tensor).backward(retain_graph=retain_graph)

    def all_reduce(self, data: Tensor, *, reduce_op: str) -> Tensor:
        return data


def conflicting(**options: Any) -> Method[Any]:
    """Create a method whose cross-entropy on the batch conflicts with the zero-shot prediction."""
    backbone = uneven()  # seeds torch when it is built
    torch.manual_seed(3)
    return vlprompt.create_method("prograd", backbone, NAMES, n_ctx=4, **options)


def gradient(method: Method[Any], fabric: Any = None) -> Tensor:
    images, labels = batch()
    method.backward(method.loss(method(images), labels), fabric)
    assert method.text_context.grad is not None
    return method.text_context.grad


@given(seed=st.integers(0, 2**32), strength=st.floats(0, 2))
def test_projection_removes_a_share_of_the_conflict(seed: int, strength: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    g, k = torch.randn(2, 3, 5, generator=generator, dtype=torch.float64)
    dot = (g * k).sum()
    result = projected(g, k, strength)
    if dot >= 0:
        assert torch.equal(result, g)
    else:
        torch.testing.assert_close((result * k).sum(), (1 - strength) * dot)
        across = g - dot / k.square().sum() * k
        torch.testing.assert_close(result - (result * k).sum() / k.square().sum() * k, across)


def test_projection_with_zero_and_overflowing_knowledge() -> None:
    g = torch.tensor([1.0, -2.0])
    assert torch.equal(projected(g, torch.zeros(2), 1.0), g)
    for bad in (float("inf"), float("nan")):
        assert not projected(g, torch.tensor([bad, 1.0]), 1.0).isfinite().all()


def test_strength_scales_the_projection() -> None:
    method = conflicting()
    images, labels = batch()
    terms = method.loss(method(images), labels)
    g, k = (torch.autograd.grad(terms[t], method.text_context, retain_graph=True)[0] for t in ("cross_entropy", "kl"))
    assert torch.cosine_similarity(g.flatten(), k.flatten(), dim=0) < -0.1
    plain, half, whole = (gradient(conflicting(strength=strength)) for strength in (0.0, 0.5, 1.0))
    torch.testing.assert_close(plain, g)
    torch.testing.assert_close(half, (plain + whole) / 2)
    assert abs((whole * k).sum()) < 1e-4 * g.norm() * k.norm()


def test_gradient_is_linear_in_the_loss_scale() -> None:
    expected = gradient(conflicting())
    torch.testing.assert_close(gradient(conflicting(), Scaling(2.0**16)) / 2**16, expected)


def test_step_under_the_grad_scaler_matches_fp32() -> None:
    steps = []
    for plugins in ([], [MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu"))]):
        fabric = Fabric(accelerator="cpu", devices=1, plugins=plugins)
        method = conflicting()
        before = method.text_context.detach().clone()
        wrapped, optimizer = fabric.setup(method, torch.optim.SGD(method.parameters(), lr=1.0))
        images, labels = batch()
        method.backward(method.loss(wrapped(images), labels), fabric)
        optimizer.step()
        steps.append(method.text_context.detach() - before)
    plain, scaled = steps
    assert plain.norm() > 0
    assert (scaled - plain).norm() < 0.1 * plain.norm()


def test_earlier_gradients_are_discarded() -> None:
    method = conflicting()
    torch.testing.assert_close(gradient(method), gradient(method))


def test_fabric_and_class_chunks_do_not_change_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = gradient(conflicting())
    torch.testing.assert_close(gradient(conflicting(), Fabric(accelerator="cpu", devices=1)), expected)
    monkeypatch.setattr(uneven().text, "chunk_size", 2)  # the two passes go through one checkpointed graph
    # Chunks sum in another order, and the projection subtracts nearly equal numbers.
    assert (gradient(conflicting()) - expected).norm() < 1e-4 * expected.norm()


@pytest.mark.skipif(not torch.distributed.is_available() or sys.platform == "win32", reason="forks processes")
def test_two_devices_match_one_batch() -> None:
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", TWO_DEVICES], cwd=root, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    name, distance = done.stdout.split()[-2:]
    assert name == "distance"
    assert float(distance) < 1e-5


def test_context_is_zeros_followed_by_words() -> None:
    method = vlprompt.create_method("prograd", uneven(), NAMES, n_ctx=6, ctx_init="a photo of a")
    assert method.text_context.shape == (6, TEXT_WIDTH)
    assert not method.text_context[:2].any()
    torch.testing.assert_close(method.text_context[2:].detach(), uneven().text.words("a photo of a"))
    longer = vlprompt.create_method("prograd", uneven(), NAMES, n_ctx=2, ctx_init="a photo of a")
    assert longer.text_context.shape == (4, TEXT_WIDTH)


def test_class_specific_contexts() -> None:
    method = conflicting(class_specific=True)
    assert method.text_context.shape == (3, 4, TEXT_WIDTH)
    assert not torch.equal(method.text_context[0], method.text_context[1])
    with pytest.raises(VLPromptError, match="cannot name new ones"):
        method.set_class_names(["cat"])


def test_training_lowers_the_loss() -> None:
    torch.manual_seed(0)
    seen = losses(vlprompt.create_method("prograd", uneven(), NAMES, n_ctx=4), steps=30)
    assert seen[-1] < seen[0] - 0.01
