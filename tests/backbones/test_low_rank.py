"""Low-rank updates in both towers against plain towers with merged weights, in values and gradients."""

from copy import deepcopy
from functools import cache
from typing import get_args

import open_clip
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils import parametrize

import vlprompt
from tests.helpers.reference import encode_prompts_plainly
from vlprompt import Backbone, LowRankUpdates, TextPrompts, VLPromptError
from vlprompt.backbones.text import Layout

WORDS = ("red", "apple", "satellite", "crop", "737-800", "t-shirt", "what?")
TEXT_WIDTH, TEXT_DEPTH, VISUAL_WIDTH, VISUAL_DEPTH = 64, 3, 96, 2


@cache
def model(causal: bool = True, tokens: bool = True) -> open_clip.CLIP:
    torch.manual_seed(0)
    image = {"image_size": 32, "patch_size": 8, "width": VISUAL_WIDTH, "layers": VISUAL_DEPTH, "head_width": 32}
    text = {"width": TEXT_WIDTH, "layers": TEXT_DEPTH, "heads": 2, "no_causal_mask": not causal}
    return open_clip.CLIP(48, image | {"pool_type": "tok" if tokens else "avg"}, text, quick_gelu=True)


@cache
def backbone(causal: bool = True, tokens: bool = True) -> Backbone:
    return vlprompt.load_backbone(model(causal, tokens), device="cpu")


def random_updates(depth: int, width: int, rank: int, seed: int, dropout: float = 0.0) -> LowRankUpdates:
    rng = torch.Generator().manual_seed(seed)
    down = torch.randn(depth, 3, rank, width, generator=rng) / width**0.5
    up = torch.randn(depth, 3, width, rank, generator=rng)
    return LowRankUpdates(down.requires_grad_(), up.requires_grad_(), 0.5, dropout)


class Merged(nn.Module):
    """Parametrization of W as W + scale * B A of a layer, for the updates in a list."""

    def __init__(self, updates: list[LowRankUpdates], layer: int) -> None:
        super().__init__()
        self.updates, self.layer = updates, layer

    def forward(self, weight: Tensor) -> Tensor:
        (updates,) = self.updates
        return weight + updates.scale * (updates.up[self.layer] @ updates.down[self.layer]).flatten(0, 1)


@cache
def merged(tower: str, causal: bool = True, tokens: bool = True) -> tuple[Backbone, list[LowRankUpdates]]:
    """Return a plain backbone with merged weights in one tower, and the list that holds its updates."""
    updates: list[LowRankUpdates] = []
    made = deepcopy(model(causal, tokens))
    for layer, block in enumerate((made if tower == "text" else made.visual).transformer.resblocks):
        parametrize.register_parametrization(block.attn, "in_proj_weight", Merged(updates, layer), unsafe=True)
    return vlprompt.load_backbone(made, device="cpu"), updates


def assert_same(actual: Tensor, expected: Tensor, updates: LowRankUpdates) -> None:
    def close(actual: Tensor, expected: Tensor, bound: float) -> bool:
        return bool((actual - expected).norm() <= bound * expected.norm())

    assert actual.shape == expected.shape
    assert close(actual, expected, 1e-5)
    weights = torch.randn_like(expected)
    learned = (updates.down, updates.up)
    for ours, theirs in zip(
        torch.autograd.grad((actual * weights).sum(), learned),
        torch.autograd.grad((expected * weights).sum(), learned),
        strict=True,
    ):
        assert close(ours, theirs, 1e-4)


@pytest.mark.parametrize("causal", [True, False])
@settings(max_examples=30, deadline=None)
@given(
    names=st.lists(st.lists(st.sampled_from(WORDS), min_size=1, max_size=6).map(" ".join), min_size=1, max_size=5),
    words=st.sampled_from(["a photo of a", "itap", "satellite"]),
    rank=st.integers(1, 4),
    chunk=st.sampled_from([1, 3, 256]),
    seed=st.integers(0, 1000),
    layout=st.sampled_from(get_args(Layout)),
)
def test_text_tower_matches_merged_weights(
    names: list[str], words: str, rank: int, chunk: int, seed: int, causal: bool, layout: Layout
) -> None:
    updates = random_updates(TEXT_DEPTH, TEXT_WIDTH, rank, seed)
    ours, (theirs, current) = backbone(causal), merged("text", causal)
    ours.text.chunk_size, ours.text.layout, current[:] = chunk, layout, [updates]
    tokens, prompts = ours.tokenize([f"{words} {name}." for name in names]), TextPrompts(ours.text.words(words))
    for actual in (ours.text(tokens, updates), ours.text.encode_prompts(prompts, names, updates)):
        # The reference tower takes words as context vectors: the same sentences at full length.
        assert_same(actual, encode_prompts_plainly(theirs.text, prompts, names), updates)


@pytest.mark.parametrize("tokens", [True, False])
@settings(max_examples=10, deadline=None)
@given(rank=st.integers(1, 4), seed=st.integers(0, 1000))
def test_image_tower_matches_merged_weights(rank: int, seed: int, tokens: bool) -> None:
    updates = random_updates(VISUAL_DEPTH, VISUAL_WIDTH, rank, seed)
    images = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(seed))
    ours, (theirs, current) = backbone(tokens=tokens), merged("visual", tokens=tokens)
    current[:] = [updates]
    assert_same(ours.vision(images, updates=updates), theirs.model.encode_image(images), updates)


def test_merged_weights_are_correct() -> None:
    updates = random_updates(TEXT_DEPTH, TEXT_WIDTH, 2, 0)
    changed, current = merged("text")
    current[:] = [updates]
    plain, changed = (part.model.transformer.resblocks[1].attn for part in (backbone(), changed))
    key = slice(TEXT_WIDTH, 2 * TEXT_WIDTH)
    expected = plain.in_proj_weight[key] + 0.5 * updates.up[1, 1] @ updates.down[1, 1]
    torch.testing.assert_close(changed.in_proj_weight[key], expected)


def test_dropout_preserves_the_mean() -> None:
    tower = backbone().text
    tokens = backbone().tokenize(["a photo of a dog.", "a photo of a dog.", "a photo of a cat."])
    whole = random_updates(TEXT_DEPTH, TEXT_WIDTH, 2, 0)
    small = LowRankUpdates(0.01 * whole.down, whole.up, 0.5, 0.25)
    torch.manual_seed(0)
    with torch.no_grad():
        noisy = torch.stack([tower(tokens, small) for _ in range(200)])
        exact, frozen = tower(tokens, LowRankUpdates(small.down, small.up, 0.5)), tower(tokens)
    assert not torch.equal(noisy[0], noisy[1])
    # Small updates act linearly, so that unbiased noise averages out.
    assert (noisy.mean(0) - exact).norm() < 0.15 * (exact - frozen).norm()
    assert not torch.equal(noisy[0, 0], noisy[0, 1])  # behind the shared start, each sentence has its own


def test_recomputed_chunks_use_the_same_mask() -> None:
    tower = backbone().text
    tokens = backbone().tokenize([f"a {word}." for word in WORDS])
    updates = random_updates(TEXT_DEPTH, TEXT_WIDTH, 2, 0, dropout=0.5)
    tower.chunk_size = 3
    torch.manual_seed(0)
    features = tower(tokens, updates)
    (again,) = torch.autograd.grad(features.square().sum(), updates.up)
    # Along `up` the features are smooth, so a gradient under another mask would miss the difference quotient.
    step = 1e-3 * again / again.norm()
    values = []
    for sign in (1, -1):
        torch.manual_seed(0)
        moved = LowRankUpdates(updates.down, updates.up.detach() + sign * step, 0.5, 0.5)
        values.append(tower(tokens, moved).double().square().sum().item())
    assert (values[0] - values[1]) / 2e-3 == pytest.approx(again.norm().item(), rel=0.02)


def test_bf16_towers_accept_fp32_updates() -> None:
    frozen = vlprompt.load_backbone(deepcopy(model()), precision="bf16", device="cpu")
    text, visual = random_updates(TEXT_DEPTH, TEXT_WIDTH, 2, 0), random_updates(VISUAL_DEPTH, VISUAL_WIDTH, 2, 0)
    features = frozen.text(frozen.tokenize(["a dog."]), text) + frozen.vision(torch.randn(1, 3, 32, 32), updates=visual)
    assert features.dtype == torch.float32
    features.sum().backward()
    assert text.up.grad is not None and visual.down.grad is not None


def test_updates_of_the_wrong_shape_are_rejected() -> None:
    ours = backbone()
    updates = random_updates(TEXT_DEPTH, TEXT_WIDTH, 2, 0)
    with pytest.raises(VLPromptError, match=r"must have shape \(2, 3, r, 96\) for this tower, got \(3, 3, 2, 64\)"):
        ours.vision(torch.randn(1, 3, 32, 32), updates=updates)
    with pytest.raises(VLPromptError, match=r"must have shape \(3, 3, r, 64\) for this tower"):
        ours.text(ours.tokenize(["a dog."]), random_updates(VISUAL_DEPTH, VISUAL_WIDTH, 2, 0))
    with pytest.raises(VLPromptError, match=r"must have shapes \(layers, 3, r, d\) and \(layers, 3, d, r\)"):
        LowRankUpdates(updates.down, updates.down)
